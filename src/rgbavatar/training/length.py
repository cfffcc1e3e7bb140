"""How long a recorded subject is trained on: no longer than its frames bear, for what is seen too often is learnt by heart."""

from __future__ import annotations

from rgbavatar.config import Config, override_config

LEAST_IMAGES = 3_000
"""That a run has, however few its frames are."""

COUNTS = (
    "training.bases_after",
    "optimizer.mean_decay_images",
    "refinement.after",
    "loss.ssim_after",
    "loss.lpips_after",
)
"""Settings that count images of a run, beside its length."""


def fit_length(config: Config, frames: int) -> Config:
    """The configuration with `training.images` at most `training.images_per_frame` for each of the frames, if that is above 0.

    A run that gets shorter by this is the long one in small: whatever counts images shrinks alike. The result asks for nothing
    more, so that it stays as it is when a run is gone on with.
    """
    training = config.training
    most = max(round(training.images_per_frame * frames), LEAST_IMAGES)
    fitted = override_config(config, ["training.images_per_frame=0"])
    if training.images_per_frame == 0 or training.images <= most:
        return fitted
    return scale_counts(override_config(fitted, [f"training.images={most}"]), most / training.images)


def scale_counts(config: Config, share: float) -> Config:
    """The configuration with all COUNTS times a share; what is 0 stays 0, all else is 1 at least."""
    counts = {key: _value_of(config, key) for key in COUNTS}
    return override_config(config, [f"{key}={max(round(share * n), 1)}" for key, n in counts.items() if n > 0])


def _value_of(config: Config, key: str) -> int:
    section, name = key.split(".")
    return int(getattr(getattr(config, section), name))
