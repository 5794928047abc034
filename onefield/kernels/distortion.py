"""Distortion of weights along rays: contract and PyTorch reference.

Source: Barron et al., "Mip-NeRF 360" (2022), equation 15: ``sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 (e_i - s_i)``
with m the middles of the intervals [s, e]. As middles ascend, the double sum is ``2 sum_i w_i (m_i W_i - M_i)`` with
``W_i = sum_{j<i} w_j`` and ``M_i = sum_{j<i} w_j m_j``: linear time, which Sun et al. (DVGO, 2022) put to use.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.composite import ray_of_each
from onefield.kernels.dispatch import Operation


def _before(values: Tensor, rays: Tensor, offsets: Tensor) -> Tensor:
    """Sum of the values before each one on its ray."""
    running = torch.cat([values.new_zeros(1), values.cumsum(0)])
    return running[:-1] - running[offsets[rays]]


def distortion_reference(weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    """See `distortion`. Sums in float64: they run over all rays before the differences are taken."""
    rays, middles = ray_of_each(offsets), (starts + ends).double() / 2
    wide = weights.double()
    spread = 2 * wide * (middles * _before(wide, rays, offsets) - _before(wide * middles, rays, offsets))
    within = wide.square() * (ends - starts) / 3
    total = wide.new_zeros(len(offsets) - 1).index_add(0, rays, spread + within)
    return total.to(weights.dtype)


def _backward_reference(for_loss: Tensor, weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = weights.detach().requires_grad_(True)
        return torch.autograd.grad(distortion_reference(leaf, starts, ends, offsets), leaf, for_loss)[0]


distortion_operation = Operation(
    name="distortion",
    schema="(Tensor weights, Tensor starts, Tensor ends, Tensor offsets) -> Tensor",
    reference=distortion_reference,
    fake=lambda weights, starts, ends, offsets: weights.new_empty(offsets.shape[0] - 1),
    cpu="onefield.kernels.cpu.distortion:distortion",
    cuda="onefield.kernels.cuda.distortion:distortion",
)

distortion_backward_operation = Operation(
    name="distortion_backward",
    schema="(Tensor for_loss, Tensor weights, Tensor starts, Tensor ends, Tensor offsets) -> Tensor",
    reference=_backward_reference,
    fake=lambda for_loss, weights, *_: torch.empty_like(weights),
    cpu="onefield.kernels.cpu.distortion:distortion_backward",
    cuda="onefield.kernels.cuda.distortion:distortion_backward",
)


def _setup(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, for_loss: Tensor) -> tuple:
    return distortion_backward_operation(for_loss, *ctx.saved_tensors), None, None, None


distortion_operation.register_autograd(_backward, _setup)


def distortion(
    weights: Float[Tensor, "N"], starts: Float[Tensor, "N"], ends: Float[Tensor, "N"], offsets: Int[Tensor, "R+1"]
) -> Float[Tensor, "R"]:
    """How far each ray's weights are from one short interval; 0 for a single point.

    Gradients go to the weights; the kernels' backward can't be differentiated again (``use("reference")`` can).

    Args:
        weights: compositing weights.
        starts, ends, offsets: intervals, packed as in `RaySamples`, near to far on each ray, in any unit of distance
            (the paper normalises them to [0, 1] between the ray's limits).
    """
    return distortion_operation(weights, starts, ends, offsets)
