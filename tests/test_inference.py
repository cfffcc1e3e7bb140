"""The inference path against `TrainedAvatar.render`."""

from __future__ import annotations

import dataclasses

import gaussian_rasterization as gr
import pytest
import torch
from torch import Tensor

import rgbavatar.inference as inference
from rgbavatar.inference import PictureRenderer, View
from rgbavatar.io.images import to_uint8
from rgbavatar.model.coefficients import code_limits
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.types import Batch
from tests.helpers.tiny_subject import tiny_config, tiny_dataset, tiny_trainer

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def needs_cuda() -> None:
    if not torch.cuda.is_available() or "cuda" not in gr.backends():
        pytest.skip("no CUDA device, or the extension was built without it")


def trained(bases_after: int = 0) -> TrainedAvatar:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(bases_after=bases_after), dataset, CUDA)
    for step in range(20):
        trainer.step(dataset.batch(torch.arange(4 * step, 4 * step + 4) % 12, CUDA))
    return trained_from_checkpoint(trainer.checkpoint(), "test")


def view_of(batch: Batch, grey: float) -> View:
    return View(batch.codes, batch.vertices, batch.camera, torch.full((len(batch), 3), grey, device=CUDA))


def expected(avatar: TrainedAvatar, batch: Batch, view: View) -> Tensor:
    rendering = avatar.render(batch, view.background)
    return to_uint8(torch.cat([rendering.color, rendering.alpha], dim=1)).permute(0, 2, 3, 1)


def assert_same_pictures(actual: Tensor, wanted: Tensor) -> None:
    """A level at most, by half-precision bases and by rounding; and few of those."""
    difference = (actual.int() - wanted.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.05


@pytest.mark.parametrize("bases_after", [0, 10**6])
@pytest.mark.parametrize("size", [1, 3, 16, 17])
def test_pictures_are_those_of_the_plain_path(size: int, bases_after: int) -> None:
    avatar, dataset = trained(bases_after), tiny_dataset()
    batch = dataset.batch(torch.arange(size) % 12, CUDA)
    view = view_of(batch, 0.25)
    assert_same_pictures(PictureRenderer(avatar).render(view), expected(avatar, batch, view))


def test_codes_go_no_further_than_the_limits_that_the_network_has() -> None:
    avatar, dataset = trained(), tiny_dataset()
    avatar.model.network.limits = code_limits(dataset.codes).to(CUDA)
    batch = dataclasses.replace(dataset, codes=300.0 * dataset.codes).batch(torch.arange(12), CUDA)
    view = view_of(batch, 0.25)
    pictures = PictureRenderer(avatar).render(view)
    assert_same_pictures(pictures, expected(avatar, batch, view))
    avatar.model.network.limits = None
    assert (pictures.int() - expected(avatar, batch, view).int()).abs().max() > 2


def test_a_stream_gives_each_view_its_pictures_in_order() -> None:
    avatar, dataset = trained(), tiny_dataset()
    batches = [dataset.batch(torch.tensor([i % 12]), CUDA) for i in range(20)]
    views = [view_of(batch, 0.05 * i) for i, batch in enumerate(batches)]
    found = [pictures.clone() for pictures in PictureRenderer(avatar).stream(views)]
    assert len(found) == 20
    for pictures, batch, view in zip(found, batches, views, strict=True):
        assert_same_pictures(pictures, expected(avatar, batch, view))


def test_room_grows_where_a_picture_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    avatar, dataset = trained(), tiny_dataset()
    batch = dataset.batch(torch.arange(2), CUDA)
    view = view_of(batch, 0.0)
    monkeypatch.setattr(inference, "_FIRST_PAIRS", 1 / avatar.binding.count)
    assert_same_pictures(PictureRenderer(avatar).render(view), expected(avatar, batch, view))


def test_sizes_may_alternate() -> None:
    avatar, dataset = trained(), tiny_dataset()
    renderer = PictureRenderer(avatar)
    for size in (1, 4, 1, 4):
        batch = dataset.batch(torch.arange(size), CUDA)
        view = view_of(batch, 0.5)
        assert_same_pictures(renderer.render(view), expected(avatar, batch, view))
