"""Adam's epsilon for opacity and scale, and for the bases: what hardly any pixel shows hardly moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rgbavatar.training.optimizer import BETAS, EPSILON, Adam
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import tiny_dataset
from tests.training.test_regularization import configured, make_trainer, train

SIZES, BASES = ("opacity", "scale"), ("basis_mean", "basis_rotation", "basis_color")
OTHERS = ("mean", "rotation", "color", "mlp")


def epsilons(*settings: str) -> tuple[dict[str, float], int]:
    """Of each group, and how many Gaussians there are."""
    trainer = make_trainer(configured(*settings), tiny_dataset())
    return {group["name"]: group["eps"] for group in trainer.optimizer.param_groups}, trainer.model.shape.count


def test_as_published_all_gradients_count_alike() -> None:
    found, _ = epsilons()
    assert found == dict.fromkeys((*SIZES, *BASES, *OTHERS), EPSILON)


def test_it_is_told_in_gradients_of_a_gaussian_that_has_its_share_of_the_picture() -> None:
    found, count = epsilons("optimizer.size_epsilon=0.3", "optimizer.basis_epsilon=0.06")
    expected = dict.fromkeys(OTHERS, EPSILON) | dict.fromkeys(SIZES, 0.1 / count) | dict.fromkeys(BASES, 0.02 / count)
    assert found == pytest.approx(expected | {"basis_mean": 25.0 / count})  # a metre is 1,250 Gaussians of 0.8 mm


def test_a_step_is_torchs_with_that_epsilon() -> None:
    start, gradient = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    optimizers = (
        Adam([{"params": [ours], "name": "any", "lr": 0.1, "eps": 0.5}]),
        torch.optim.Adam([theirs], lr=0.1, betas=BETAS, eps=0.5, fused=True),
    )
    for step in range(3):
        for param, optimizer in zip((ours, theirs), optimizers, strict=True):
            param.grad = gradient * (step + 1)
            optimizer.step()
    assert torch.equal(ours, theirs)
    [group] = optimizers[0].state_dict()["param_groups"]
    assert group["eps"] == 0.5


def moved(trainer: Trainer, before: dict[str, Tensor], name: str) -> Tensor:
    """How far the numbers of each Gaussian have moved, root mean square: [N]."""
    change = trainer.model.state_dict()[name] - before[name]
    count = trainer.model.shape.count
    axis = 1 if change.shape[0] != count else 0
    return change.movedim(axis, 0).reshape(count, -1).square().mean(dim=1).sqrt()


def gradient_sizes(trainer: Trainer, param: Tensor) -> Tensor:
    """What Adam has seen of each Gaussian's gradients, root mean square: [N]."""
    squares, count = trainer.optimizer.state_of(param)["exp_avg_sq"], trainer.model.shape.count
    axis = 1 if squares.shape[0] != count else 0
    return squares.movedim(axis, 0).reshape(count, -1).mean(dim=1).sqrt()


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("optimizer.size_epsilon=0.3", "base.opacity_logit"),
        ("optimizer.size_epsilon=0.3", "base.log_scale"),
        ("optimizer.basis_epsilon=0.3", "basis.sh"),
        ("optimizer.basis_epsilon=0.3", "basis.mean"),
    ],
)
def test_what_few_pixels_show_moves_less_than_what_many_show(setting: str, name: str) -> None:
    dataset = tiny_dataset()
    shares = []
    for settings in ((), (setting,)):
        trainer = make_trainer(configured(*settings, bases_after=0), dataset)
        before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
        train(trainer, dataset, 40)
        sizes = gradient_sizes(trainer, dict(trainer.model.named_parameters())[name])
        shown = sizes > 0
        ways, order = moved(trainer, before, name)[shown], sizes[shown].argsort()
        quarter = len(order) // 4
        assert quarter >= 5
        shares.append(float(ways[order[:quarter]].mean() / ways[order[-quarter:]].mean()))
    assert shares[1] < 0.8 * shares[0]


def test_other_groups_of_the_first_step_are_left_alone() -> None:
    dataset, settings = tiny_dataset(), ("optimizer.size_epsilon=0.1", "optimizer.basis_epsilon=0.1")
    first, second = (
        train(make_trainer(configured(*more, bases_after=0), dataset), dataset, 4).model.state_dict()
        for more in ((), settings)
    )
    changed = {name for name, value in first.items() if not torch.equal(value, second[name])}
    assert changed == {"base.opacity_logit", "base.log_scale", "basis.mean", "basis.rotation", "basis.sh"}
