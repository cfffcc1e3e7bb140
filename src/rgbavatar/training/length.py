"""How long a recorded subject is trained on: no longer than its frames bear, for what is seen too often is learnt by heart."""

from __future__ import annotations

from rgbavatar.config import Config, override_config


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
