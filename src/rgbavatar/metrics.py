"""How close renderings are to the frames. Images are [B, 3, H, W] float in [0, 1]; every metric returns [B], one value an image.

Conventions. l1 and l2 are means of |difference| and difference² over pixels and channels. PSNR is taken for each image, with
data range 1, and then averaged over images. SSIM uses an 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, population
covariances, only windows that lie inside the image, and the mean over channels. LPIPS is version 0.1 on VGG-16.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rgbavatar.checks import check_image_pair
from rgbavatar.errors import DataError
from rgbavatar.io.files import write_bytes, write_text

SSIM_WINDOW = 11  # pixels; 3.5 sigma on either side, rounded
SSIM_SIGMA = 1.5  # pixels
SSIM_C1 = 0.01**2  # (K1 · data range)², Wang et al. 2004
SSIM_C2 = 0.03**2

MIN_SQUARED_ERROR = 1e-10  # caps the PSNR of equal images at 100 dB, where it would be infinite

VGG_FILE = "vgg16-397923af.pth"
VGG_URL = f"https://download.pytorch.org/models/{VGG_FILE}"


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of each image."""
    check_image_pair(prediction, target)
    return (prediction - target).abs().mean(dim=(1, 2, 3))


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of each image."""
    check_image_pair(prediction, target)
    return (prediction - target).square().mean(dim=(1, 2, 3))


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, at most 100."""
    return -10.0 * l2(prediction, target).clamp_min(MIN_SQUARED_ERROR).log10()


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each image, at most 1; differentiable. Raises ValueError for images smaller than the window."""
    check_image_pair(prediction, target)
    if min(prediction.shape[2:]) < SSIM_WINDOW:
        raise ValueError(
            f"images of {tuple(prediction.shape[2:])} pixels are smaller than SSIM's window, {SSIM_WINDOW}"
        )
    pairs = zip(prediction.split(1), target.split(1), strict=True)  # one at a time: what stays in cache is 3 x faster
    return torch.stack([_ssim_map(ours, theirs).mean() for ours, theirs in pairs])


def _ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """[B, 3, H, W] twice → [B, 3, H - 10, W - 10]."""
    moments = torch.cat([first, second, first * first + second * second, first * second], dim=1)
    mean_1, mean_2, squares, product = _blur(moments).chunk(4, dim=1)
    means_product, means_squares = mean_1 * mean_2, mean_1 * mean_1 + mean_2 * mean_2
    return similarity(means_product, means_squares, product - means_product, squares - means_squares)


def similarity(means_product: Tensor, means_squares: Tensor, covariance: Tensor, variances: Tensor) -> Tensor:
    """Structural similarity from moments of two pictures, of any one shape (Wang et al. 2004, Eq. 13).

    means_product: of both means; means_squares, variances: the sum of both means' squares, and of both variances.
    """
    numerator = (2 * means_product + SSIM_C1) * (2 * covariance + SSIM_C2)
    return numerator / ((means_squares + SSIM_C1) * (variances + SSIM_C2))


def _blur(images: Tensor) -> Tensor:
    """Convolve each channel with SSIM's window, without padding."""
    offsets = torch.arange(SSIM_WINDOW, dtype=images.dtype, device=images.device) - SSIM_WINDOW // 2
    window = torch.exp(-0.5 * (offsets / SSIM_SIGMA).square())
    window = (window / window.sum()).expand(images.shape[1], 1, 1, -1)
    rows = functional.conv2d(images, window, groups=images.shape[1])
    return functional.conv2d(rows, window.transpose(2, 3), groups=images.shape[1])


class LpipsMetric:
    """The learned perceptual distance (Zhang et al. 2018), VGG-16, version 0.1; differentiable in its images."""

    def __init__(self, network: nn.Module) -> None:
        """network: an lpips.LPIPS, whose parameters are frozen here."""
        self._network = network.eval().requires_grad_(False)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of each image, one image at a time to bound the memory. Returns [B]."""
        check_image_pair(prediction, target)
        pairs = zip(prediction.split(1), target.split(1), strict=True)
        return torch.cat([self._network(2 * ours - 1, 2 * theirs - 1).reshape(1) for ours, theirs in pairs])


def load_lpips(device: torch.device, weights: Path | None = None) -> tuple[LpipsMetric | None, str]:
    """LPIPS on `device`, or None and one line on how to provide its weights.

    weights: the file of torchvision's VGG-16; by default the one in torch hub's folder of checkpoints. Nothing is downloaded.
    Raises DataError when the given file is missing, or the file is not VGG-16.
    """
    path = weights or Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
    if not path.is_file():
        if weights is not None:
            raise DataError(f"{path}: no such file of VGG-16 weights; download {VGG_URL}")
        return None, f"LPIPS is left out: {path} is missing; get it with: curl --create-dirs -o {path} {VGG_URL}"
    trunk = _read_vgg(path)
    network = build_lpips_network()
    _fill_trunk(network, trunk, path)
    return LpipsMetric(network.to(device)), ""


def build_lpips_network() -> nn.Module:
    """lpips.LPIPS with its trained linear layers on a random VGG-16; leaves torch's random state as it was."""
    import lpips

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # lpips uses its older arguments
        network: nn.Module = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    return network


def _read_vgg(path: Path) -> dict[str, Tensor]:
    """The convolutions of torchvision's VGG-16, `<layer>.weight` and `<layer>.bias`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix("features."): state[name] for name in state if name.startswith("features.")}
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything at all
        raise _vgg_error(path, error) from error


def _fill_trunk(network: nn.Module, trunk: Mapping[str, Tensor], path: Path) -> None:
    """Copy the convolutions into `network`, whose names are torchvision's under the name of a slice: `slice2.5.weight`."""
    net = network.get_submodule("net")
    try:
        net.load_state_dict({name: trunk[name.partition(".")[2]] for name in net.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise _vgg_error(path, error) from error


def _vgg_error(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return DataError(f"{path}: not the weights of VGG-16 ({reason}); download {VGG_URL} again")


@torch.no_grad()
def measure_frames(prediction: Tensor, target: Tensor, lpips: LpipsMetric | None) -> dict[str, np.ndarray]:
    """All metrics of B frames, by name, each [B] float32; the prediction is clamped to [0, 1] first."""
    prediction = prediction.clamp(0.0, 1.0)
    metrics: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2, "psnr": psnr, "ssim": ssim}
    if lpips is not None:
        metrics["lpips"] = lpips
    return {name: metric(prediction, target).float().cpu().numpy() for name, metric in metrics.items()}


def join_frames(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The per-frame metrics of several batches, in order, as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Summary:
    """A metric over the frames of a split; std is that of the population."""

    mean: float
    std: float
    min: float
    max: float


def summarise(per_frame: Mapping[str, np.ndarray]) -> dict[str, Summary]:
    """Summarise each metric's values [F] over frames, in float64."""
    return {name: _summarise_values(np.asarray(values, np.float64)) for name, values in per_frame.items()}


def _summarise_values(values: np.ndarray) -> Summary:
    with np.errstate(invalid="ignore"):  # the spread of values of which one is infinite is NaN
        return Summary(float(values.mean()), float(values.std()), float(values.min()), float(values.max()))


def write_metrics(
    folder: Path,
    per_frame: Mapping[str, np.ndarray],
    frame_numbers: Sequence[int],
    protocol: Mapping[str, str | int | float],
) -> None:
    """Write the metrics of a split: metrics.npz holds each frame's, metrics.json and metrics.txt the summary.

    per_frame: values [F] by metric. frame_numbers [F]: the numbers in the frames' file names. protocol: how it was measured
    (split, background, resolution, ...), for the reader; it holds no date, so that equal runs write equal files.
    Raises OutputError.
    """
    numbers = np.asarray(frame_numbers, np.int64)
    if numbers.size == 0 or any(np.shape(values) != numbers.shape for values in per_frame.values()):
        raise ValueError(
            f"{numbers.size} frame numbers do not fit { ({k: np.shape(v) for k, v in per_frame.items()}) }"
        )
    protocol = {**protocol, "frames": numbers.size}
    summary = summarise(per_frame)
    table = BytesIO()
    np.savez(table, allow_pickle=False, frame_numbers=numbers, **{name: np.asarray(v) for name, v in per_frame.items()})
    write_bytes(folder / "metrics.npz", table.getbuffer())
    write_text(folder / "metrics.json", _to_json(summary, protocol))
    write_text(folder / "metrics.txt", _to_text(summary, protocol))


def _to_json(summary: Mapping[str, Summary], protocol: Mapping[str, object]) -> str:
    metrics = {
        name: {key: _json_number(value) for key, value in asdict(item).items()} for name, item in summary.items()
    }
    return json.dumps({"metrics": metrics, "protocol": dict(protocol)}, indent=2, allow_nan=False) + "\n"


def _json_number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _to_text(summary: Mapping[str, Summary], protocol: Mapping[str, object]) -> str:
    header = f"{'metric':<8}{'mean':>12}{'std':>12}{'min':>12}{'max':>12}"
    rows = [f"{k:<8}{s.mean:>12.6f}{s.std:>12.6f}{s.min:>12.6f}{s.max:>12.6f}" for k, s in summary.items()]
    notes = [f"{key}: {value}" for key, value in protocol.items()]
    return "\n".join([header, *rows, "", *notes]) + "\n"
