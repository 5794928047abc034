"""Structural similarity of pictures as a loss: contract and PyTorch reference.

Wang et al. (2004), eq. 13, with a Gaussian window of 11 x 11 pixels and sigma 1.5 and zeros beyond the border, as 3D
Gaussian splatting trains on it (Kerbl et al. 2023). Metrics for tables are in `onefield.training.metrics`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.kernels.dispatch import Operation

RADIUS = 5
_SIGMA = 1.5
# (0.01 L)^2 and (0.03 L)^2 for values of range L = 1.
C1, C2 = 0.01**2, 0.03**2


def _window() -> tuple[float, ...]:
    weights = [math.exp(-(offset**2) / (2 * _SIGMA**2)) for offset in range(-RADIUS, RADIUS + 1)]
    return tuple(weight / sum(weights) for weight in weights)


WINDOW = _window()
"""The 11 weights of one axis, which sum to 1."""


def _blurred(images: Tensor) -> Tensor:
    """``c h w``."""
    weights = images.new_tensor(WINDOW)
    down = functional.conv2d(images[:, None], weights.reshape(1, 1, -1, 1), padding=(RADIUS, 0))
    return functional.conv2d(down, weights.reshape(1, 1, 1, -1), padding=(0, RADIUS))[:, 0]


def _index(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x = _blurred(x * x) - mean_x * mean_x
    variance_y = _blurred(y * y) - mean_y * mean_y
    covariance = _blurred(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return likeness / ((mean_x * mean_x + mean_y * mean_y + C1) * (variance_x + variance_y + C2))


def _reference(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """See `structural_similarity`; the slope is only there where the prediction needs none of its own."""
    x, y = (image.movedim(-1, 0) for image in (prediction, target))
    return _index(x, y).mean(), torch.zeros_like(prediction)


def _kernel_on_any_device(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The mean index and its slope by the prediction."""
    with torch.enable_grad():
        leaf = prediction.detach().requires_grad_(True)
        mean, _ = _reference(leaf, target.detach())
        (slope,) = torch.autograd.grad(mean, leaf)
    return mean.detach(), slope


_operation = Operation(
    name="structural_similarity",
    schema="(Tensor prediction, Tensor target) -> (Tensor, Tensor)",
    reference=_reference,
    fake=lambda prediction, target: (prediction.new_empty(()), torch.empty_like(prediction)),
    cpu="onefield.kernels.cpu.structural_similarity:similarity",
    # convolutions are PyTorch's own on a graphics card
    cuda="onefield.kernels.structural_similarity:_kernel_on_any_device",
)


def _setup(ctx, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, for_mean: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
    (slope,) = ctx.saved_tensors
    return for_mean * slope, None


_operation.register_autograd(_backward, _setup)


def structural_similarity(prediction: Float[Tensor, "h w c"], target: Float[Tensor, "h w c"]) -> Float[Tensor, ""]:
    """Mean of the index over pixels and channels, at most 1; differentiable in the prediction.

    Args:
        prediction, target: pictures with values in [0, 1].
    """
    return _operation(prediction.contiguous(), target)[0]
