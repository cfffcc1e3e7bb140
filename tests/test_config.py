from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rgbavatar.config import Config, config_from_dict, config_to_dict, config_to_yaml, load_config, override_config
from rgbavatar.errors import ConfigError

CONFIG_FOLDER = Path(__file__).parents[1] / "config"


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text)
    return path


def keys_of(settings: dict[str, object], prefix: str = "") -> set[str]:
    found = set()
    for key, value in settings.items():
        found |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found


def test_the_offline_file_states_every_default_but_the_online_ones() -> None:
    path = CONFIG_FOLDER / "offline.yaml"
    assert load_config(path) == Config()
    stated = keys_of(yaml.safe_load(path.read_text()))
    assert {key for key in keys_of(config_to_dict(Config())) if not key.startswith("online.")} == stated


def test_the_online_file_states_every_online_setting() -> None:
    stated = keys_of(yaml.safe_load((CONFIG_FOLDER / "online.yaml").read_text()))
    assert {key for key in keys_of(config_to_dict(Config())) if key.startswith("online.")} <= stated


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_file_is_read_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert load_config(write(tmp_path, config_to_yaml(config))) == config


def test_overrides_apply_in_their_order() -> None:
    config = load_config(CONFIG_FOLDER / "offline.yaml", ["training.batch_size=3", "seed=9", "training.batch_size=4"])
    assert (config.training.batch_size, config.seed) == (4, 9)
    assert override_config(config, ["loss.ssim=0.2"]).loss.ssim == 0.2


def test_an_exponent_without_a_point_is_a_number() -> None:
    assert config_from_dict({"optimizer": {"mean": "8e-4"}}, "x").optimizer.mean == 8e-4
    assert override_config(Config(), ["optimizer.mean=1e-3"]).optimizer.mean == 1e-3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {batchsize: 5}", "unknown key training.batchsize; did you mean training.batch_size?"),
        ("trainig: {}", "unknown key trainig; did you mean training?"),
        ("zzz: 1", "unknown key zzz; expected one of seed, dataset"),
        ("training: {batch_size: five}", "training.batch_size: found 'five', expected a whole number of at least 1"),
        ("training: {batch_size: 2.5}", "training.batch_size: found 2.5"),
        ("training: {batch_size: true}", "training.batch_size: found True"),
        ("training: {batch_size: 0}", "expected a whole number of at least 1 and at most 1024"),
        ("training: {color_init: 1}", "training.color_init: found 1, expected true or false"),
        ("optimizer: {mean: .nan}", "optimizer.mean: found nan"),
        ("dataset: 5", "dataset: found 5, expected a section"),
        ("- 1", "expected sections"),
        ("a: [", "is not valid YAML"),
        ("loss: {l1: 0}", "all loss weights are 0"),
    ],
)
def test_a_wrong_setting_is_named(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("override", ["training.batch_size", "=5", "seed.x=1", "training.bad=1", "seed=[", "seed=-1"])
def test_a_wrong_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        override_config(Config(), [override])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        load_config(tmp_path / "nothing.yaml")


def test_pools_cannot_both_be_forced() -> None:
    with pytest.raises(ConfigError, match=r"online\.force_local and online\.force_global are both true"):
        override_config(Config(), ["online.force_local=true", "online.force_global=true"])


def test_a_run_of_an_earlier_version_is_read_where_a_retired_key_did_nothing() -> None:
    assert config_from_dict({"online": {"post_process_images": 0}}, "x") == Config()
    with pytest.raises(ConfigError, match=r"unknown key online\.post_process_images"):
        config_from_dict({"online": {"post_process_images": 10}}, "x")
