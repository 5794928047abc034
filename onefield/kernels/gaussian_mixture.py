"""Sums of Gaussians, and of what they carry, at points: contract and PyTorch reference.

With ``W`` the axes of a Gaussian divided by its standard deviations, a row an axis, the Gaussian is
``G(x) = exp(-|W (x - mean)|^2 / 2)`` within three standard deviations and 0 beyond. The kernels sort points and
Gaussians into cells; the reference compares each point with each Gaussian.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.dispatch import Operation

# Standard deviations beyond which a Gaussian counts for nothing: there it has fallen to 1.1 percent of its peak.
REACH = 3.0
# Pairs of points and Gaussians that the reference holds at once.
_PAIRS = 2**20


def _reference(
    points: Tensor, means: Tensor, whitening: Tensor, amplitudes: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """See `gaussian_mixture`."""
    step = max(1, _PAIRS // max(len(means), 1))
    totals, sums = [], []
    for first in range(0, max(len(points), 1), step):
        offsets = points[first : first + step, None] - means
        squared = torch.einsum("pij,npj->npi", whitening, offsets).square().sum(-1)
        weights = torch.where(squared < REACH * REACH, amplitudes * torch.exp(-0.5 * squared), 0.0)
        totals.append(weights.sum(1))
        sums.append(weights @ features)
    return torch.cat(totals), torch.cat(sums)


def _backward_reference(
    for_total: Tensor,
    for_sums: Tensor,
    points: Tensor,
    means: Tensor,
    whitening: Tensor,
    amplitudes: Tensor,
    features: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_(True) for tensor in (points, means, whitening, amplitudes, features)]
        return torch.autograd.grad(_reference(*inputs), inputs, (for_total, for_sums))


mixture_operation = Operation(
    name="gaussian_mixture",
    schema=("(Tensor points, Tensor means, Tensor whitening, Tensor amplitudes, Tensor features) -> (Tensor, Tensor)"),
    reference=_reference,
    fake=lambda points, means, whitening, amplitudes, features: (
        points.new_empty(points.shape[0]),
        points.new_empty(points.shape[0], features.shape[1]),
    ),
    cpu="onefield.kernels.cpu.gaussian_mixture:mixture",
    cuda="onefield.kernels.cuda.gaussian_mixture:mixture",
)

mixture_backward_operation = Operation(
    name="gaussian_mixture_backward",
    schema=(
        "(Tensor for_total, Tensor for_sums, Tensor points, Tensor means, Tensor whitening, Tensor amplitudes, "
        "Tensor features) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_total, for_sums, *inputs: tuple(torch.empty_like(tensor) for tensor in inputs),
    cpu="onefield.kernels.cpu.gaussian_mixture:mixture_backward",
    cuda="onefield.kernels.cuda.gaussian_mixture:mixture_backward",
)


def _setup(ctx, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, for_total: Tensor, for_sums: Tensor) -> tuple:
    return mixture_backward_operation(for_total, for_sums, *ctx.saved_tensors)


mixture_operation.register_autograd(_backward, _setup)


def gaussian_mixture(
    points: Float[Tensor, "n 3"],
    means: Float[Tensor, "P 3"],
    whitening: Float[Tensor, "P 3 3"],
    amplitudes: Float[Tensor, "P"],
    features: Float[Tensor, "P f"],
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n f"]]:
    """``sum_i a_i G_i(x)`` and ``sum_i a_i G_i(x) f_i`` at each point.

    Gradients go to all five inputs; the kernels' backward can't be differentiated again (``use("reference")`` can).

    Args:
        whitening: orthogonal axes divided by standard deviations, a row an axis.
        amplitudes: value of each Gaussian in its middle.
        features: what each Gaussian carries; f may be 0.
    """
    return mixture_operation(points, means, whitening, amplitudes, features)
