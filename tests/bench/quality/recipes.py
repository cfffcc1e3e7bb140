"""Recipes of the study: the published one, and changes of it by name, alone (`average`) or together (`average+normalize`).

All counts of the published recipe are shares of its 50,000 images, so that a short run is the long one in small; what counts
steps follows their number. A change of one's own is written `NAME:key=value,key=value`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rgbavatar.config import Config, load_config, override_config
from rgbavatar.errors import ConfigError

PUBLISHED = "published"
PUBLISHED_IMAGES = 50_000
BEST = Path(__file__).parents[3] / "config" / "best.yaml"

COUNTS = (
    "training.bases_after",
    "optimizer.mean_decay_images",
    "refinement.after",
    "loss.ssim_after",
    "loss.lpips_after",
)
"""Settings that count images of a run, beside its length."""


@dataclass(frozen=True)
class Length:
    """Of a run."""

    images: int
    steps: int


Change = Callable[[Length], list[str]]


def _always(*settings: str) -> Change:
    return lambda _: list(settings)


def _decay(decay: float, length: Length) -> str:
    """As much over the whole run as `decay` takes away in the published number of steps."""
    return f"optimizer.mlp_weight_decay={decay * PUBLISHED_IMAGES / length.images:.4g}"


def _settings_of_best(length: Length) -> list[str]:
    """Where config/best.yaml differs from the published recipe. Counts are scaled elsewhere, visits to a frame here."""
    best, published = (dataclasses.asdict(config) for config in (load_config(BEST), Config()))
    found = [
        f"{section}.{name}={value}"
        for section in ("model", "training", "optimizer", "refinement", "loss")
        for name, value in best[section].items()
        if value != published[section][name] and f"{section}.{name}" not in COUNTS
    ]
    visits = best["training"]["images_per_frame"] * length.images / PUBLISHED_IMAGES
    return [*found, _decay(best["optimizer"]["mlp_weight_decay"], length), f"training.images_per_frame={visits:g}"]


# Each is one candidate; numbers that matter are in the name.
CHANGES: dict[str, Change] = {
    PUBLISHED: _always(),
    "half": lambda length: [f"training.images={length.images // 2}"],
    "fall_0.1": _always("optimizer.final_share=0.1"),
    "fall_0.01": _always("optimizer.final_share=0.01"),
    "normalize": _always("model.normalize_code=true"),
    "limit": _always("model.limit_code=true"),
    "noise_0.1": _always("training.code_noise=0.1"),
    "noise_0.3": _always("training.code_noise=0.3"),
    "weight_decay": lambda length: [_decay(2.0, length)],
    "weight_decay_half": lambda length: [_decay(1.0, length)],
    "weight_decay_double": lambda length: [_decay(4.0, length)],
    "dropout_0.1": _always("model.mlp_dropout=0.1"),
    "dropout_0.3": _always("model.mlp_dropout=0.3"),
    "average": lambda length: [f"training.average={max(1.0 - 10.0 / length.steps, 0.5):.6g}"],
    "ssim": _always("loss.ssim=0.2"),
    "ssim_late": lambda length: ["loss.ssim=0.2", f"loss.ssim_after={length.images // 2}"],
    "block_ssim_0.1": _always("loss.block_ssim=0.1"),
    "block_ssim_0.2": _always("loss.block_ssim=0.2"),
    "block_ssim_0.5": _always("loss.block_ssim=0.5"),
    "size_epsilon_0.003": _always("optimizer.size_epsilon=0.003"),
    "basis_epsilon_0.001": _always("optimizer.basis_epsilon=0.001"),
    "exposure": _always("optimizer.exposure=2e-3"),
    "refine": _always("training.refine_tracking=true"),
    "doubt_0.15": _always("refinement.doubt_turn=0.15"),
    "narrow": _always("model.hidden_width=32"),
    "bases_8": _always("model.num_bases=8"),
    "bases_40": _always("model.num_bases=40"),
    "sparsity": _always("loss.sparsity=1e-3"),
    "orthogonality": _always("loss.orthogonality=1e-2"),
    "smooth_weights_0.1": _always("loss.smooth_weights=0.1"),
    "smooth_weights_1": _always("loss.smooth_weights=1"),
    "smooth_bases_1e-5": _always("loss.smooth_bases=1e-5"),
    "smooth_bases_1e-4": _always("loss.smooth_bases=1e-4"),
    "error_sampling": _always("training.error_sampling=0.5"),
    "region_2": _always("loss.region=2"),
    "region_10": _always("loss.region=10"),
    "visits_30": _always("training.images_per_frame=30"),
    "visits_60": _always("training.images_per_frame=60"),
    "visits_120": _always("training.images_per_frame=120"),
    "best": _settings_of_best,
}


def configure(base: Config, recipe: str, images: int) -> Config:
    """The base configuration, its counts scaled to so many images, under the changes of a recipe. Raises ConfigError."""
    length = Length(images, max(images // base.training.batch_size, 1))
    never = 10 * images  # pictures and checkpoints are not looked at
    fixed = [f"training.images={images}", f"training.checkpoint_every={never}", f"training.picture_every={never}"]
    changes = [setting for name in recipe.split("+") for setting in _settings_of(name, length)]
    return override_config(scale_counts(base, images / PUBLISHED_IMAGES), [*fixed, *changes])


def scale_counts(config: Config, share: float) -> Config:
    """The configuration with all COUNTS times a share; what is 0 stays 0, all else is 1 at least."""
    counts = {key: _value_of(config, key) for key in COUNTS}
    return override_config(config, [f"{key}={max(round(share * n), 1)}" for key, n in counts.items() if n > 0])


def _value_of(config: Config, key: str) -> int:
    section, name = key.split(".")
    return int(getattr(getattr(config, section), name))


def _settings_of(name: str, length: Length) -> list[str]:
    own, separator, settings = name.partition(":")
    if separator:
        return settings.split(",")
    if own not in CHANGES:
        raise ConfigError(f"--recipes: found {own!r}, expected NAME:KEY=VALUE or some of {', '.join(CHANGES)}")
    return CHANGES[own](length)
