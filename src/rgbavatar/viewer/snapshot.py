"""A copy of an avatar in training, taken between two steps in the training thread, read in another."""

from __future__ import annotations

import copy

import torch

from rgbavatar.trained import TrainedAvatar
from rgbavatar.training.trainer import Trainer

_HIDDEN = -100.0  # the opacity logit of what is not drawn


class Snapshot:
    """See the module's head. images_seen: by the trainer."""

    def __init__(self, trainer: Trainer) -> None:
        """The trainer stands still. Waits for nothing: on a GPU, the copies are made on the stream that trains."""
        self.images_seen = trainer.images_seen
        self._model = copy.deepcopy(trainer.model)
        self._seen = trainer.color_init.seen.clone() if trainer.config.training.color_init else None
        self._uses_bases = trainer.uses_bases
        self._binding, self._config = trainer.binding, trainer.config
        self._copied = None if trainer.device.type == "cpu" else torch.cuda.Event()
        if self._copied is not None:
            self._copied.record()

    @torch.no_grad()
    def avatar(self) -> TrainedAvatar:
        """The avatar, with Gaussians hidden that no image has shown, unless none was shown yet. Waits for the copies."""
        if self._copied is not None:
            self._copied.synchronize()
        if self._seen is not None and bool(self._seen.any()):
            self._model.base.opacity_logit.masked_fill_(~self._seen, _HIDDEN)
        return TrainedAvatar(self._model, self._binding, self._config, self.images_seen, self._uses_bases)
