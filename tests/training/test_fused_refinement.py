"""What the fused step does beyond the published recipe, against the plain path: the tracking corrected, codes normalised, the
network's numbers decayed, structural similarity in the loss."""

from __future__ import annotations

import dataclasses

import gaussian_rasterization as gr
import pytest
import torch
from gaussian_rasterization import fused as fused_extension
from torch import Tensor

from rgbavatar.config import Config, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.geometry.camera import Camera
from rgbavatar.losses import BLOCK
from rgbavatar.model.avatar import parameters_in_order
from rgbavatar.model.coefficients import code_scaling
from rgbavatar.training.frame_bank import RecordedFrames
from rgbavatar.training.fused import supports
from rgbavatar.training.refinement import Refinement
from rgbavatar.training.steps import run_steps
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import tiny_config, tiny_dataset, tiny_trainer

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)
FRAMES = 12
TABLES = ("turns", "shifts")


@pytest.fixture(autouse=True)
def needs_cuda() -> None:
    if not torch.cuda.is_available() or "cuda" not in gr.backends():
        pytest.skip("no CUDA device, or the extension was built without it")


def configured(*settings: str, **training: object) -> Config:
    config = override_config(tiny_config(bases_after=0, **training), list(settings))
    assert supports(config, CUDA)
    return config


def refining(*settings: str, **training: object) -> Config:
    return configured(
        "training.refine_tracking=true", "refinement.after=0", "refinement.weight=0.01", *settings, **training
    )


def many_cameras() -> HeadDataset:
    """Frames that are seen by cameras which stand elsewhere and look aside."""
    dataset = tiny_dataset(FRAMES)
    one, n = dataset.camera, len(dataset)
    turned = one.world_to_camera.repeat(n, 1, 1)
    angles = torch.linspace(-0.2, 0.2, n)
    turned[:, 0, 0], turned[:, 0, 1], turned[:, 1, 0], turned[:, 1, 1] = (
        angles.cos(), -angles.sin(), angles.sin(), angles.cos(),
    )  # fmt: skip
    turned[:, 2, 3] += 0.02
    camera = Camera(turned, one.intrinsics.repeat(n, 1), one.width, one.height)
    return dataclasses.replace(dataset, camera=camera)


def make_trainer(config: Config, dataset: HeadDataset) -> Trainer:
    """Whose Gaussians are not round, and whose frames have corrections of some degrees and millimetres already."""
    trainer = tiny_trainer(config, dataset, CUDA)
    random = torch.Generator().manual_seed(1)
    for tensor in (trainer.model.base.log_scale, trainer.model.base.rotation, trainer.model.basis.mean):
        tensor.data += (torch.randn(tensor.shape, generator=random) * (1e-4 if tensor.ndim == 3 else 0.3)).to(CUDA)
    if config.training.refine_tracking:
        trainer.refinement = Refinement(dataset, config.refinement, CUDA)
        for name, size in zip(TABLES, (0.2, 0.002), strict=True):
            values = size * torch.randn(len(dataset), 3, generator=random)
            trainer.refinement._tables[name].values.data.copy_(values)
    if config.model.normalize_code:
        trainer.model.network.scaling = code_scaling(dataset.codes, dataset.template.code_layout).to(CUDA)
    return trainer


def train(config: Config, dataset: HeadDataset, order: list[Tensor]) -> Trainer:
    trainer = make_trainer(config, dataset)
    list(run_steps(trainer, RecordedFrames(dataset), order, lambda: False))
    return trainer


def plain(config: Config) -> Config:
    return override_config(config, ["training.reproducible=true"])


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.refinement is not None
    found = {f"{name} value": trainer.refinement._tables[name].values.detach() for name in TABLES}
    states = trainer.refinement.state()
    return found | {f"{name} {part}": tensor for name in TABLES for part, tensor in states[name].items()}


def assert_near(ours: Tensor, theirs: Tensor, share: float, name: str) -> None:
    apart, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert apart <= share * scale, f"{name}: {apart:.3e} apart, of {scale:.3e}"


@pytest.mark.parametrize("memory_gib", [16.0, 0.0])
@pytest.mark.parametrize("dataset", [tiny_dataset(FRAMES), many_cameras()], ids=["one camera", "many cameras"])
def test_forces_and_torques_are_the_gradients_of_the_plain_path(dataset: HeadDataset, memory_gib: float) -> None:
    """After one step Adam's averages are a tenth of the gradients."""
    order = [torch.tensor([3, 7, 0, 7])]  # a frame may be there twice
    config = refining(frame_memory_gib=memory_gib)
    fused, expected = train(config, dataset, order), train(plain(config), dataset, order)
    ours, theirs = state_of(fused), state_of(expected)
    assert theirs["turns average"][[0, 3, 7]].abs().min() > 0
    for name, tensor in theirs.items():
        assert_near(ours[name], tensor, 1e-3 if "average" in name else 3e-3, name)
    assert ours["turns visits"].tolist() == theirs["turns visits"].tolist() == [1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_the_avatar_is_trained_with_the_corrected_poses() -> None:
    order, config = [torch.tensor([3, 7, 0, 1])], refining()
    fused, expected = (train(which, many_cameras(), order) for which in (config, plain(config)))
    for ours, theirs in zip(parameters_in_order(fused.model), parameters_in_order(expected.model), strict=True):
        average, other = (
            trainer.optimizer.state_of(value)["exp_avg"] for trainer, value in ((fused, ours), (expected, theirs))
        )
        assert_near(average, other, 1e-3, "average")


def test_many_steps_end_where_the_plain_ones_do() -> None:
    """Rates are small, so that rounding is not amplified; the corrections join after some steps."""
    slow = [f"optimizer.{name}=1e-5" for name in ("mean", "mean_final", "opacity", "scale", "rotation", "color", "mlp")]
    config = refining("refinement.after=20", *slow)
    order = [torch.tensor([(4 * step + i) % FRAMES for i in range(4)]) for step in range(70)]
    dataset = many_cameras()
    ours, theirs = (state_of(train(which, dataset, order)) for which in (config, plain(config)))
    start = state_of(make_trainer(config, dataset))
    for name in ("turns value", "shifts value"):
        assert_near(ours[name] - start[name], theirs[name] - start[name], 0.05, name)
    assert torch.equal(ours["shifts visits"], theirs["shifts visits"])
    assert theirs["shifts visits"].sum() == 65 * 4
    assert ours["turns value"].mean(dim=0).abs().max() < 1e-6


def test_a_step_without_room_changes_no_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    import rgbavatar.training.fused as fused_module

    order, config, dataset = [torch.tensor([3, 7, 0, 1])] * 3, refining(), tiny_dataset(FRAMES)
    expected = state_of(train(config, dataset, order))
    monkeypatch.setattr(fused_module, "_FIRST_PAIRS", 1 / 144 / 4)  # room for one pair
    for name, tensor in state_of(train(config, dataset, order)).items():
        assert_near(tensor, expected[name], 0.02, name)


@pytest.mark.parametrize("weight", [0.2, 2.0])
def test_the_similarity_of_blocks_pulls_as_on_the_plain_path(weight: float) -> None:
    """After one step Adam's averages are a tenth of the gradients. A pixel's is cut to 11 bits, a part in 2,000."""
    order, config = [torch.tensor([3, 7, 0, 1])], configured(f"loss.block_ssim={weight}")
    assert fused_extension.BLOCK == BLOCK
    fused, expected, published = (
        train(which, many_cameras(), order) for which in (config, plain(config), configured())
    )
    found, differences = [], []
    for trainer in (fused, expected, published):
        values = parameters_in_order(trainer.model)
        found.append([trainer.optimizer.state_of(value)["exp_avg"] for value in values])
    for ours, theirs, others in zip(*found, strict=True):
        assert_near(ours, theirs, 2e-3, "average")
        differences.append((theirs - others).abs().max() / others.abs().max().clamp_min(1e-20))
    assert max(differences) > 0.1


def test_reports_tell_the_loss_and_its_terms() -> None:
    dataset, order, config = many_cameras(), [torch.tensor([3, 7, 0, 1])], configured("loss.block_ssim=0.5")
    reports = [
        next(iter(run_steps(make_trainer(which, dataset), RecordedFrames(dataset), order, lambda: False)))
        for which in (config, plain(config))
    ]
    ours, theirs = ({"loss": report.loss(), **report.terms()} for report in reports)
    assert set(ours) == {"loss", "l1", "block_ssim"}
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours["loss"] == pytest.approx(ours["l1"] + 0.5 * ours["block_ssim"])


@pytest.mark.parametrize(("degrees", "doubt"), [(180.0, "least"), (30.0, "some"), (3.0, "full")])
def test_decay_follows_the_doubt_of_the_tracking_as_on_the_plain_path(degrees: float, doubt: str) -> None:
    """Frames are corrected by some 20 degrees."""
    decay = ["optimizer.mlp_weight_decay=5"]
    dataset, config = many_cameras(), refining(*decay, f"refinement.doubt_turn={degrees}")
    order = [torch.tensor([(4 * step + i) % FRAMES for i in range(4)]) for step in range(10)]
    full = refining(*decay)
    ours, theirs, others = (
        parameters_in_order(train(which, dataset, order).model)[8:] for which in (config, plain(config), plain(full))
    )
    apart = max((a - b).abs().max().item() for a, b in zip(theirs, others, strict=True))
    assert apart < 1e-6 if doubt == "full" else apart > 1e-3
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).abs().max() < 2e-4


@pytest.mark.parametrize(
    "settings",
    [
        ["model.normalize_code=true"],
        ["optimizer.mlp_weight_decay=20"],
        ["optimizer.mlp_weight_decay=20", "optimizer.final_share=0.1"],
    ],
)
@pytest.mark.parametrize("memory_gib", [16.0, 0.0])
def test_the_network_is_trained_as_on_the_plain_path(settings: list[str], memory_gib: float) -> None:
    dataset, config = tiny_dataset(FRAMES), configured(*settings, frame_memory_gib=memory_gib)
    published = configured(frame_memory_gib=memory_gib)
    order = [torch.tensor([(4 * step + i) % FRAMES for i in range(4)]) for step in range(10)]
    ours, theirs, others = (
        parameters_in_order(train(which, dataset, order).model)[8:] for which in (config, plain(config), published)
    )
    assert max((a - b).abs().max().item() for a, b in zip(theirs, others, strict=True)) > 1e-3
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).abs().max() < 2e-4
