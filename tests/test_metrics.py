"""Metrics, judged by scikit-image, by loops, and by the lpips library itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from rgbavatar import metrics
from rgbavatar.errors import DataError, OutputError
from rgbavatar.metrics import LpipsMetric, build_lpips_network, load_lpips, measure_frames, summarise, write_metrics


def make_pair(noise: float, count: int = 3, height: int = 45, width: int = 61) -> tuple[Tensor, Tensor]:
    """Smooth images with an edge and a flat area, and the same with noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 8, generator=generator)
    target = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").clamp(0, 1)
    target[:, :, : height // 3] = 0.25
    target[:, :, :, width // 2 :] *= 0.3
    return (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def as_picture(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.02, 0.3])
def test_ssim_agrees_with_scikit_image(noise: float) -> None:
    prediction, target = make_pair(noise)
    expected = [
        structural_similarity(
            as_picture(ours), as_picture(theirs), data_range=1.0, channel_axis=2,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for ours, theirs in zip(prediction, target, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(metrics.ssim(prediction.double(), target.double()), expected, rtol=0, atol=1e-12)
    # float32: a variance is a difference of numbers near 1, so it carries 1e-7, against C2 = 9e-4
    np.testing.assert_allclose(metrics.ssim(prediction, target), expected, rtol=0, atol=2e-5)


def test_ssim_is_one_for_equal_images_of_the_smallest_size_and_refuses_smaller_ones() -> None:
    image = torch.rand(2, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metrics.ssim(image, image), torch.ones(2))
    with pytest.raises(ValueError, match="smaller than SSIM's window, 11"):
        metrics.ssim(image[:, :, 1:], image[:, :, 1:])


def test_ssim_has_the_gradient_of_finite_differences() -> None:
    prediction, target = make_pair(0.1, 1, 12, 13)
    prediction, target = prediction.double().requires_grad_(), target.double()
    assert torch.autograd.gradcheck(lambda image: metrics.ssim(image, target), prediction)


@pytest.mark.parametrize("noise", [0.002, 0.3])
def test_psnr_l1_and_l2_agree_with_loops(noise: float) -> None:
    prediction, target = make_pair(noise)
    for index, (ours, theirs) in enumerate(zip(prediction, target, strict=True)):
        ours, theirs = as_picture(ours), as_picture(theirs)
        errors = [float(a) - float(b) for a, b in zip(ours.flat, theirs.flat, strict=True)]
        assert metrics.l1(prediction, target)[index].item() == pytest.approx(
            sum(map(abs, errors)) / len(errors), rel=1e-5
        )
        assert metrics.l2(prediction, target)[index].item() == pytest.approx(
            sum(error * error for error in errors) / len(errors), rel=1e-5
        )
        assert metrics.psnr(prediction, target)[index].item() == pytest.approx(
            peak_signal_noise_ratio(theirs, ours, data_range=1.0), abs=1e-4
        )


def test_the_psnr_of_equal_images_is_finite() -> None:
    image = torch.zeros(1, 3, 4, 4)
    assert metrics.psnr(image, image).item() == pytest.approx(100.0)


@pytest.mark.parametrize("metric", [metrics.l1, metrics.l2, metrics.psnr, metrics.ssim])
def test_images_that_would_broadcast_are_our_mistake(metric) -> None:
    image = torch.zeros(2, 3, 16, 16)
    for other in (image[:1], image[:, :1], image[0], image.to(torch.uint8)):
        with pytest.raises(ValueError, match="expected"):
            metric(image, other)


@pytest.fixture(scope="module")
def lpips_network() -> torch.nn.Module:
    return build_lpips_network()


def test_lpips_scales_the_images_and_keeps_each_apart(lpips_network) -> None:
    prediction, target = make_pair(0.2)
    found = LpipsMetric(lpips_network)(prediction, target)
    with torch.no_grad():
        expected = lpips_network(prediction * 2 - 1, target * 2 - 1).flatten()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert found.shape == (3,)
    assert not found.requires_grad
    torch.testing.assert_close(LpipsMetric(lpips_network)(target, target), torch.zeros(3))


def test_lpips_passes_gradients_to_images_and_not_to_weights(lpips_network) -> None:
    prediction, target = make_pair(0.2, 1, 32, 32)
    prediction.requires_grad_()
    LpipsMetric(lpips_network)(prediction, target).sum().backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in lpips_network.parameters())


def test_building_lpips_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    build_lpips_network()
    assert torch.equal(before, torch.get_rng_state())


def test_missing_weights_are_one_line_on_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    metric, advice = load_lpips(torch.device("cpu"))
    assert metric is None
    assert "\n" not in advice
    assert str(tmp_path / "checkpoints" / "vgg16-397923af.pth") in advice
    assert metrics.VGG_URL in advice
    with pytest.raises(DataError, match="no such file"):
        load_lpips(torch.device("cpu"), tmp_path / "typo.pth")


def save_vgg(path: Path, network: torch.nn.Module) -> None:
    """A file with torchvision's names for the layers of a trunk; the classifier, which LPIPS ignores, is cut short."""
    trunk = network.net.state_dict()
    state = {"features." + name.split(".", 1)[1]: value for name, value in trunk.items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(1)}, path)


def test_the_weights_of_the_file_end_up_in_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lpips_network
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    save_vgg(tmp_path / "checkpoints" / metrics.VGG_FILE, lpips_network)
    metric, advice = load_lpips(torch.device("cpu"))
    assert metric is not None
    assert advice == ""
    prediction, target = make_pair(0.2, 1, 32, 32)
    torch.testing.assert_close(metric(prediction, target), LpipsMetric(lpips_network)(prediction, target))


def test_the_names_of_the_trunk_are_torchvisions() -> None:
    """`_load_vgg` finds each layer in torchvision's VGG-16 under the expected name and shape."""
    from torchvision.models import vgg16

    with torch.device("meta"):
        expected = vgg16().features.state_dict()
    trunk = build_lpips_network().net.state_dict()
    assert {name.split(".", 1)[1]: value.shape for name, value in trunk.items()} == {
        name: value.shape for name, value in expected.items()
    }


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", {"features.0.weight": torch.zeros(3)}, [1]])
def test_a_file_that_is_not_vgg_is_refused_in_one_line(tmp_path: Path, content) -> None:
    path = tmp_path / "vgg.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataError) as caught:
        load_lpips(torch.device("cpu"), path)
    assert str(caught.value).startswith(f"{path}: not the weights of VGG-16")
    assert "\n" not in str(caught.value)


def test_frames_are_measured_clamped_and_with_lpips_only_where_there_is_one(lpips_network) -> None:
    prediction, target = make_pair(0.1)
    wild = prediction + 10 * (prediction - prediction.clamp(0.01, 0.99))
    found = measure_frames(wild.requires_grad_(), target, LpipsMetric(lpips_network))
    assert list(found) == ["l1", "l2", "psnr", "ssim", "lpips"]
    assert all(values.shape == (3,) and values.dtype == np.float32 for values in found.values())
    np.testing.assert_allclose(found["l1"], (wild.detach().clamp(0, 1) - target).abs().mean((1, 2, 3)), rtol=1e-5)
    assert "lpips" not in measure_frames(prediction, target, None)


def test_batches_join_in_order() -> None:
    parts = [{"l1": np.array([1.0, 2.0])}, {"l1": np.array([3.0])}]
    np.testing.assert_array_equal(metrics.join_frames(parts)["l1"], [1, 2, 3])


def test_a_summary_is_over_frames() -> None:
    summary = summarise({"psnr": np.array([30, 32, 37], np.float32)})["psnr"]
    assert (summary.mean, summary.min, summary.max) == (33, 30, 37)
    assert summary.std == pytest.approx(np.sqrt((9 + 1 + 16) / 3))


PER_FRAME = {"l1": np.array([0.25, 0.75]), "psnr": np.array([20.0, np.inf])}


def test_the_files_of_a_split_hold_frames_summary_and_protocol(tmp_path: Path) -> None:
    write_metrics(tmp_path / "test", PER_FRAME, [7, 12], {"background": "white", "resolution": "512x512"})
    table = np.load(tmp_path / "test" / "metrics.npz", allow_pickle=False)
    np.testing.assert_array_equal(table["frame_numbers"], [7, 12])
    np.testing.assert_array_equal(table["l1"], [0.25, 0.75])
    content = json.loads((tmp_path / "test" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["metrics"]["l1"] == {"mean": 0.5, "std": 0.25, "min": 0.25, "max": 0.75}
    assert content["metrics"]["psnr"]["mean"] is None
    assert content["metrics"]["psnr"]["min"] == 20
    assert content["protocol"] == {"background": "white", "resolution": "512x512", "frames": 2}
    text = (tmp_path / "test" / "metrics.txt").read_text()
    assert "l1          0.500000    0.250000    0.250000    0.750000" in text
    assert "background: white\n" in text
    assert "frames: 2\n" in text


def test_equal_runs_write_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_metrics(tmp_path / name, PER_FRAME, [1, 2], {"split": "test"})
    for name in ("metrics.npz", "metrics.json", "metrics.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_metrics_that_do_not_fit_their_frames_are_our_mistake(tmp_path: Path) -> None:
    for numbers in ([1], [1, 2, 3], []):
        with pytest.raises(ValueError, match="frame numbers"):
            write_metrics(tmp_path, PER_FRAME, numbers, {})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_metrics_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "test").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        write_metrics(tmp_path / "test", PER_FRAME, [1, 2], {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_metrics_agree_between_cpu_and_gpu(lpips_network) -> None:
    prediction, target = make_pair(0.1)
    ours = measure_frames(prediction, target, LpipsMetric(lpips_network))
    theirs = measure_frames(prediction.cuda(), target.cuda(), LpipsMetric(copy.deepcopy(lpips_network).cuda()))
    for name, values in ours.items():
        # sums in another order; LPIPS also runs its convolutions in TF32, which keeps 10 bits
        np.testing.assert_allclose(theirs[name], values, rtol=1e-2 if name == "lpips" else 1e-4, err_msg=name)
