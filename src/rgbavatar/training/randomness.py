"""Random numbers: named generators that all spring from one seed, so that no draw depends on another's count."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_NAMES = ("network", "background", "sampler")


def derive_seed(seed: int, name: str) -> int:
    """A seed of 63 bits for the stream `name`; neighbouring seeds and names give unrelated streams."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Generators:
    """CPU generators by name: `network` draws first weights, `background` colours, `sampler` frames of a stream."""

    def __init__(self, seed: int) -> None:
        self._generators = {name: torch.Generator().manual_seed(derive_seed(seed, name)) for name in _NAMES}

    def __getitem__(self, name: str) -> torch.Generator:
        return self._generators[name]

    def state(self) -> dict[str, Tensor]:
        """The state of each generator, uint8, for a checkpoint."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` left off."""
        for name, generator in self._generators.items():
            generator.set_state(state[name].cpu())
