"""How long a recorded subject is trained on: no longer than its frames bear, for what is seen too often is learnt by heart."""

from __future__ import annotations

from rgbavatar.config import Config, override_config

COUNTS = (
    "training.bases_after",
    "optimizer.mean_decay_images",
    "refinement.after",
    "loss.ssim_after",
    "loss.lpips_after",
)
"""Settings that count images of a run, beside its length."""


def fit_length(config: Config, frames: int) -> Config:
    """The configuration with no more images after the bases have joined than `training.images_per_frame` for each of the frames,
    if that is above 0.

    Before they join nothing tells one frame from another, so that part stays as long as it is, and so do all other counts. The
    result asks for nothing more: it stays as it is when a run is gone on with.
    """
    training = config.training
    most = training.bases_after + max(round(training.images_per_frame * frames), 1)
    shorter = [f"training.images={min(most, training.images)}"] if training.images_per_frame > 0 else []
    return override_config(config, [*shorter, "training.images_per_frame=0"])


def scale_counts(config: Config, share: float) -> Config:
    """The configuration with all COUNTS times a share; what is 0 stays 0, all else is 1 at least."""
    counts = {key: _value_of(config, key) for key in COUNTS}
    return override_config(config, [f"{key}={max(round(share * n), 1)}" for key, n in counts.items() if n > 0])


def _value_of(config: Config, key: str) -> int:
    section, name = key.split(".")
    return int(getattr(getattr(config, section), name))
