"""The layout shows the architecture: data flows one way, and nothing is ambient."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "rgbavatar"
SCRIPTS = sorted(ROOT.glob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the ground up: a module imports from its own layer or from one below it, never from above.
LAYERS = [
    {"errors", "checks"},
    {"geometry"},
    {"types"},
    {"templates", "io", "metrics", "losses", "cli"},
    {"config"},
    {"datasets", "binding", "model"},
    {"renderer", "subject", "prepare"},
    {"trained"},
    {"inference", "shots"},
    {"evaluation", "pictures", "training", "export", "check"},
    {"track"},
    {"import_ply", "viewer"},
    {"live"},
    {"drive"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part_of(module: str) -> str:
    return module.split(".")[1]


def imported_parts(source: str) -> set[str]:
    tree = ast.parse(source)
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {part_of(name) for name in names if name.startswith("rgbavatar.")}


def upward_imports(part: str, source: str) -> set[str]:
    return {other for other in imported_parts(source) if LEVEL[other] > LEVEL[part]}


def calls(source: str) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def strings(source: str) -> list[str]:
    """All string constants but docstrings."""
    tree = ast.parse(source)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, owners)}
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [value for value in found if isinstance(value, str) and value not in docs]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_nothing_from_above(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part != "__init__":
        assert upward_imports(part, path.read_text()) == set()


def test_the_import_check_sees_an_upward_import() -> None:
    assert upward_imports("io", "from rgbavatar.training.trainer import Trainer") == {"training"}
    assert upward_imports("io", "import rgbavatar.model.avatar") == {"model"}
    assert upward_imports("training", "from rgbavatar.io.files import write_text") == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_package_prints_nothing(path: Path) -> None:
    assert "print" not in calls(path.read_text())


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "cli.py"], ids=name_of)
def test_no_device_is_named_outside_the_scripts_choice(path: Path) -> None:
    assert not [text for text in strings(path.read_text()) if text.startswith("cuda")]


GLOBAL_RANDOM_STATE = ("torch.manual_seed", "random.seed", "np.random.seed", "torch.seed", "torch.set_rng_state")
GLOBAL_DEFAULTS = ("torch.set_default_device", "torch.set_default_dtype", "os.chdir", "torch.set_num_threads")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_ambient_is_set_or_drawn_from(path: Path) -> None:
    found = calls(path.read_text())
    legacy_draws = [name for name in found if name.startswith("np.random.") and name != "np.random.default_rng"]
    assert not legacy_draws
    assert not [name for name in found if name in GLOBAL_RANDOM_STATE + GLOBAL_DEFAULTS]


@pytest.mark.parametrize("path", [*MODULES, *(ROOT / "tests").rglob("*.py")], ids=name_of)
def test_files_stay_under_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_stay_under_60_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


def test_the_top_level_is_fixed() -> None:
    allowed = {
        "train_offline.py",
        "train_online.py",
        "calculate_metrics.py",
        "render.py",
        "config",
        "data",
        "submodules",
    }
    allowed |= {"src", "requirements.txt", "README.md", "tests", "Makefile", "LICENSE", "output"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__"))}
    assert found <= allowed
