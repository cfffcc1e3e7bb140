"""Configuration: frozen dataclasses that mirror the YAML files in config/, read strictly.

A setting is addressed by its dotted key, `training.batch_size`. An unknown key, a wrong type or a value out of range is a
ConfigError that names the key, what was found and what is expected. Defaults are the published recipe.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from rgbavatar.errors import ConfigError
from rgbavatar.losses import LossWeights


def _setting(default: Any, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A field with an inclusive range or a set of choices."""
    return field(default=default, metadata={"low": low, "high": high, "choices": choices})


_RETIRED = {"online.post_process_images": 0}


@dataclass(frozen=True)
class DatasetConfig:
    """Which frames: data_dir/SUBJECT, the last test_frames of it held out; layout: how it is stored (datasets.layouts);
    check: whether training refuses a subject whose mesh misses the mask (rgbavatar.check)."""

    data_dir: str = "data/INSTA"
    layout: str = "auto"
    check: bool = True
    test_frames: int = _setting(350, low=0)


@dataclass(frozen=True)
class TemplateConfig:
    """Which head mesh: a FLAME file, with or without a patch that closes the mouth from the inside, or blendshapes (.npz)."""

    path: str = "data/FLAME2020/generic_model.pkl"
    mouth_interior: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """The avatar's sizes and first values, and how its network takes codes; initial_scale in metres."""

    tex_size: int = _setting(256, low=2, high=4096)
    num_bases: int = _setting(20, low=1, high=512)
    hidden_width: int = _setting(128, low=1, high=4096)
    normalize_code: bool = False
    limit_code: bool = False
    mlp_dropout: float = _setting(0.0, low=0, high=0.9)
    initial_opacity: float = _setting(0.5, low=1e-4, high=0.9999)
    initial_scale: float = _setting(0.0008, low=1e-6, high=1.0)


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how; all counts are images, not steps."""

    images: int = _setting(50_000, low=1)
    images_per_frame: float = _setting(0.0, low=0)
    batch_size: int = _setting(10, low=1, high=1024)
    bases_after: int = _setting(3_000, low=0)
    color_init: bool = True
    checkpoint_every: int = _setting(10_000, low=1)
    log_every: int = _setting(100, low=1)
    picture_every: int = _setting(5_000, low=1)
    reproducible: bool = False
    frame_memory_gib: float = _setting(16.0, low=0)
    refine_tracking: bool = False
    code_noise: float = _setting(0.0, low=0, high=10)
    average: float = _setting(0.0, low=0, high=0.999999)
    error_sampling: float = _setting(0.0, low=0, high=1)


@dataclass(frozen=True)
class OptimizerConfig:
    """Learning rates of Adam for each kind of parameter, the bases' relative to the base's, and how they fall."""

    mean: float = _setting(8e-4, low=0)
    mean_final: float = _setting(8e-6, low=1e-12)
    mean_decay_images: int = _setting(30_000, low=1)
    opacity: float = _setting(0.25, low=0)
    scale: float = _setting(0.025, low=0)
    rotation: float = _setting(0.005, low=0)
    color: float = _setting(0.0125, low=0)
    basis_mean_factor: float = _setting(0.05, low=0)
    basis_rotation_factor: float = _setting(0.5, low=0)
    basis_color_factor: float = _setting(0.5, low=0)
    mlp: float = _setting(1e-3, low=0)
    mlp_weight_decay: float = _setting(0.0, low=0, high=1_000)
    final_share: float = _setting(1.0, low=1e-6, high=1)
    exposure: float = _setting(0.0, low=0, high=1)
    size_epsilon: float = _setting(0.0, low=0, high=1)
    basis_epsilon: float = _setting(0.0, low=0, high=1)


@dataclass(frozen=True)
class RefinementConfig:
    """Corrections of the tracking, where training.refine_tracking is true; config/offline.yaml explains them."""

    after: int = _setting(4_000, low=0)
    rotation: float = _setting(1e-3, low=0)
    translation: float = _setting(2e-4, low=0)
    code: float = _setting(0.0, low=0)
    focal: float = _setting(0.0, low=0)
    weight: float = _setting(1e-4, low=0)
    rotation_size: float = _setting(0.01, low=1e-9)
    translation_size: float = _setting(0.003, low=1e-9)
    code_size: float = _setting(0.3, low=1e-9)
    focal_size: float = _setting(0.05, low=1e-9)
    predict: bool = True
    doubt_turn: float = _setting(0.0, low=0, high=180)


@dataclass(frozen=True)
class OnlineConfig:
    """The pools of frames that online training draws from, and how long it waits for what; config/online.yaml explains them."""

    local_frames: int = _setting(150, low=1)
    local_age_coefficient: float = _setting(1.0, low=0, high=100)
    global_frames: int = _setting(1_000, low=1)
    global_share: float = _setting(0.7, low=0, high=1)
    global_ramp_frames: int = _setting(1_000, low=1)
    global_weighting: str = _setting("uniform", choices=("uniform", "error"))
    error_uniform_share: float = _setting(0.2, low=0, high=1)
    force_opt_current: bool = False
    force_local: bool = False
    force_global: bool = False
    steps_per_frame: float = _setting(6.0, low=0.01)
    network_decay: float = _setting(0.02, low=0, high=0.5)
    network_decay_frames: int = _setting(200, low=1)
    mean_decay_frames: int = _setting(1_000, low=1)
    post_process_epochs: int = _setting(0, low=0)
    checkpoint_seconds: float = _setting(30.0, low=0.1)
    stall_seconds: float = _setting(30.0, low=0.1)
    broken_seconds: float = _setting(2.0, low=0.0)
    save_patience_seconds: float = _setting(600.0, low=0)
    record_samples: bool = True

    def __post_init__(self) -> None:
        if self.force_local and self.force_global:
            raise ConfigError("online.force_local and online.force_global are both true; expected one of them at most")


@dataclass(frozen=True)
class Config:
    """The whole configuration; config/offline.yaml explains every value."""

    seed: int = _setting(0, low=0, high=2**31 - 1)
    dataset: DatasetConfig = DatasetConfig()
    template: TemplateConfig = TemplateConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    refinement: RefinementConfig = RefinementConfig()
    loss: LossWeights = field(default_factory=LossWeights)
    online: OnlineConfig = OnlineConfig()


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file, then apply overrides of the form `key=value`, later ones last."""
    settings = _read_yaml(path)
    for override in overrides or []:
        _apply_override(settings, override)
    return config_from_dict(settings, str(path))


def override_config(config: Config, overrides: list[str]) -> Config:
    """The same configuration with settings changed by `key=value`, later ones last."""
    settings = config_to_dict(config)
    for override in overrides:
        _apply_override(settings, override)
    return config_from_dict(settings, "--set")


def config_from_dict(settings: dict[str, Any], source: str) -> Config:
    """Build a Config from nested dicts. Missing keys take their defaults; source names the origin in errors."""
    return _build(Config, settings, "", source)


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dicts, the inverse of config_from_dict."""
    return dataclasses.asdict(config)


def config_to_yaml(config: Config) -> str:
    """The resolved configuration as YAML text that load_config reads back to an equal Config."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a YAML file with --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not valid YAML ({where})") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: found a {type(settings).__name__}, expected sections of `key: value`")
    return settings


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: expected key=value, for example training.batch_size=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value {text!r} is not valid YAML") from error
    *sections, name = key.split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
    settings[name] = value


def _build(kind: type, settings: Any, prefix: str, source: str) -> Any:
    if not isinstance(settings, dict):
        raise ConfigError(f"{source}: {prefix[:-1]}: found {settings!r}, expected a section of keys")
    hints = get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    settings = {key: value for key, value in settings.items() if not _is_retired(prefix + str(key), value)}
    for key in settings:
        if key not in fields:
            raise ConfigError(f"{source}: unknown key {prefix}{key}{_suggest(str(key), prefix, fields)}")
    values = {key: _convert(hints[key], fields[key], value, prefix + key, source) for key, value in settings.items()}
    return kind(**values)


def _is_retired(key: str, value: Any) -> bool:
    """Whether a key is one of an earlier version, at the default it had then: runs of that version are still read."""
    return key in _RETIRED and value == _RETIRED[key]


def _suggest(key: str, prefix: str, fields: dict[str, Any]) -> str:
    nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {prefix}{nearest[0]}?"
    return f"; expected one of {', '.join(fields)}"


def _convert(hint: type, item: dataclasses.Field[Any], value: Any, key: str, source: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, key + ".", source)
    value = _to_number(value) if hint is float else value
    matches = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    if not matches:
        raise ConfigError(f"{source}: {key}: found {value!r}, expected {_describe(hint, item)}")
    if not _in_range(value, item):
        raise ConfigError(f"{source}: {key}: found {value!r}, expected {_describe(hint, item)}")
    return value


def _to_number(value: Any) -> Any:
    """YAML 1.1 reads `8e-4` as text and `1` as an integer; a float setting takes both."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _in_range(value: Any, item: dataclasses.Field[Any]) -> bool:
    low, high, choices = (item.metadata.get(name) for name in ("low", "high", "choices"))
    if choices and value not in choices:
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _describe(hint: type, item: dataclasses.Field[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    low, high, choices = (item.metadata.get(name) for name in ("low", "high", "choices"))
    text = names[hint]
    if choices:
        return f"one of {', '.join(choices)}"
    if low is not None:
        text += f" of at least {low:g}"
    if high is not None:
        text += f" and at most {high:g}"
    return text
