"""How well a result agrees with the truth: images, signals, surfaces, volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from onefield.errors import UsageError

# Wang et al. 2004, section III.B and III.C: window and stabilising constants.
_SIGMA = 1.5
_RADIUS = 5
_K1, _K2 = 0.01, 0.03
# Wang et al. 2003, section 3.2: exponents of the five scales.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(prediction: Float[Tensor, "*b"], target: Float[Tensor, "*b"], value_range: float) -> float:
    """Peak signal-to-noise ratio in dB over all elements, ``10 log10(value_range^2 / mean squared error)``.

    Args:
        value_range: greatest less smallest possible value: 1 for images in [0, 1], 2 for audio in [-1, 1].

    Returns:
        Infinity for equal inputs.

    Raises:
        UsageError: shapes differ, nothing to compare, or a range that is not positive.
    """
    _same_shape(prediction, target)
    if value_range <= 0 or prediction.numel() == 0:
        raise UsageError(f"PSNR needs values and a positive range, got {prediction.numel()} and {value_range}.")
    error = (prediction.detach().double() - target.detach().double()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(value_range * value_range / error)


def _same_shape(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise UsageError(f"Metrics compare equal shapes, got {tuple(prediction.shape)} and {tuple(target.shape)}.")


def _window(device: torch.device) -> Tensor:
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64, device=device)
    weights = torch.exp(-offsets.square() / (2 * _SIGMA * _SIGMA))
    return weights / weights.sum()


def _smooth(images: Float[Tensor, "c h w"]) -> Float[Tensor, "c h-10 w-10"]:
    window = _window(images.device)
    rows = functional.conv2d(images[:, None], window.reshape(1, 1, -1, 1))
    return functional.conv2d(rows, window.reshape(1, 1, 1, -1))[:, 0]


def _ssim_parts(prediction: Tensor, target: Tensor, value_range: float) -> tuple[Tensor, Tensor]:
    """Mean over pixels of the whole index and of its contrast-structure part, one a channel; images ``h w c``."""
    whole, contrast = _ssim_maps(prediction, target, value_range)
    return whole.mean((-2, -1)), contrast.mean((-2, -1))


def _ssim_maps(prediction: Tensor, target: Tensor, value_range: float) -> tuple[Tensor, Tensor]:
    """The whole index and its contrast-structure part at each full window, ``c h-10 w-10``; images ``h w c``."""
    x, y = (image.detach().double().movedim(-1, 0) for image in (prediction, target))
    c1, c2 = (_K1 * value_range) ** 2, (_K2 * value_range) ** 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x = _smooth(x * x) - mean_x.square()
    variance_y = _smooth(y * y) - mean_y.square()
    covariance = _smooth(x * y) - mean_x * mean_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return luminance * contrast, contrast


def _check_images(prediction: Tensor, target: Tensor, value_range: float, least: int) -> None:
    _same_shape(prediction, target)
    if prediction.ndim != 3 or min(prediction.shape[:2]) < least or value_range <= 0:
        raise UsageError(
            f"SSIM needs images (h, w, c) of at least {least} pixels a side and a positive range, got shape "
            f"{tuple(prediction.shape)} and range {value_range}."
        )


def ssim(
    prediction: Float[Tensor, "h w c"],
    target: Float[Tensor, "h w c"],
    value_range: float = 1.0,
    counted: Bool[Tensor, "h w"] | None = None,
) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window 11 x 11 of sigma 1.5, mean over full windows.

    Equals scikit-image's with ``gaussian_weights=True, use_sample_covariance=False``.

    Args:
        counted: pixels that count; windows with any other pixel are left out. None counts all.

    Raises:
        UsageError: shapes differ, a side is below 11 pixels, or no window is left.
    """
    _check_images(prediction, target, value_range, 2 * _RADIUS + 1)
    whole = _ssim_maps(prediction, target, value_range)[0]
    if counted is None:
        return whole.mean((-2, -1)).mean().item()
    windows = whole_windows(counted)
    if not bool(windows.any()):
        raise UsageError("SSIM needs one window of 11 x 11 pixels that count; the mask leaves none.")
    return whole[:, windows].mean().item()


def whole_windows(counted: Bool[Tensor, "h w"]) -> Bool[Tensor, "h-10 w-10"]:
    """Which windows of SSIM hold only pixels that count."""
    return functional.max_pool2d((~counted)[None, None].float(), 2 * _RADIUS + 1, stride=1)[0, 0] == 0


def ms_ssim(prediction: Float[Tensor, "h w c"], target: Float[Tensor, "h w c"], value_range: float = 1.0) -> float:
    """Multiscale structural similarity (Wang et al. 2003): five scales, each a 2 x 2 average of the one before.

    Raises:
        UsageError: shapes differ or a side is below 176 pixels.
    """
    scales = len(_SCALE_WEIGHTS)
    _check_images(prediction, target, value_range, (2 * _RADIUS + 1) * 2 ** (scales - 1))
    product = torch.ones(prediction.shape[-1], dtype=torch.float64, device=prediction.device)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        whole, contrast = _ssim_parts(prediction, target, value_range)
        # negative similarity has no real power; it counts as none
        product = product * (whole if scale == scales - 1 else contrast).clamp(min=0) ** weight
        prediction, target = (
            functional.avg_pool2d(image.movedim(-1, 0)[None], 2)[0].movedim(0, -1) for image in (prediction, target)
        )
    return product.mean().item()


@dataclass(frozen=True)
class SurfaceAgreement:
    """Distances between two surfaces, each represented by points on it, in their unit of length.

    Attributes:
        accuracy: mean distance from the result to the truth.
        completeness: mean distance from the truth to the result.
        precision: share of the result within the threshold of the truth.
        recall: share of the truth within the threshold of the result.
    """

    accuracy: float
    completeness: float
    precision: float
    recall: float

    @property
    def chamfer(self) -> float:
        """Mean of accuracy and completeness (not squared)."""
        return (self.accuracy + self.completeness) / 2

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall (Knapitsch et al. 2017)."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


def surface_agreement(points: Float[Tensor, "n 3"], truth: Float[Tensor, "m 3"], threshold: float) -> SurfaceAgreement:
    """Nearest-neighbour distances both ways.

    Args:
        points, truth: points spread evenly over the two surfaces, some 30,000 each.
        threshold: for precision and recall, same unit as the points.

    Raises:
        UsageError: one side is empty.
    """
    from scipy.spatial import cKDTree

    if points.shape[0] == 0 or truth.shape[0] == 0:
        raise UsageError(f"Surfaces need points to compare, got {points.shape[0]} and {truth.shape[0]}.")
    found, true = (np.asarray(p.detach().cpu(), dtype=np.float64) for p in (points, truth))
    to_truth = cKDTree(true).query(found)[0]
    to_found = cKDTree(found).query(true)[0]
    return SurfaceAgreement(
        float(to_truth.mean()),
        float(to_found.mean()),
        float((to_truth <= threshold).mean()),
        float((to_found <= threshold).mean()),
    )


def intersection_over_union(prediction: Bool[Tensor, "*b"], target: Bool[Tensor, "*b"]) -> float:
    """Share of the points inside both among those inside either; 1 where both are empty.

    Raises:
        UsageError: shapes differ.
    """
    _same_shape(prediction, target)
    union = (prediction | target).sum().item()
    return 1.0 if union == 0 else (prediction & target).sum().item() / union
