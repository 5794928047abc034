"""Alpha compositing of packed samples along rays: contract and PyTorch reference.

Source: Max, "Optical models for direct volume rendering" (1995); Mildenhall et al., "NeRF" (2020), equation 3. Over
an interval of length ``dt`` with density ``sigma`` the opacity is ``alpha = 1 - exp(-sigma dt)``; the weight of sample
i is ``w_i = T_i alpha_i`` with the transmittance ``T_i = prod_{j<i} (1 - alpha_j)``. Samples behind
``T_i < early_stop`` have weight 0 and get no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from onefield.kernels.dispatch import Operation


class Composited(NamedTuple):
    """Weights of the samples, and sums over each ray: ``w c``, ``w t`` with t the interval's middle, and ``w``."""

    weights: Float[Tensor, "N"]
    color: Float[Tensor, "R C"]
    depth: Float[Tensor, "R"]
    opacity: Float[Tensor, "R"]


def ray_of_each(offsets: Int[Tensor, "R+1"]) -> Int[Tensor, "N"]:
    """The ray that owns each packed sample."""
    return torch.repeat_interleave(offsets.diff())


def _rows(values: Tensor, rays: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Packed values as a dense ``R S`` array, zero beyond each ray's end, and each packed value's column."""
    columns = torch.arange(len(values), device=values.device) - offsets[rays]
    longest = int(offsets.diff().max()) if len(offsets) > 1 else 0
    dense = values.new_zeros(len(offsets) - 1, longest)
    return dense.index_put((rays, columns), values), columns


def transmittances(thickness: Float[Tensor, "*b S"]) -> Float[Tensor, "*b S"]:
    """What reaches each sample of a row through those before it, however thick the sample itself is."""
    return torch.exp(-functional.pad(thickness.cumsum(-1)[..., :-1], (1, 0)))


def weights_reference(densities: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float) -> Tensor:
    """See `rendering_weights`."""
    rays = ray_of_each(offsets)
    thickness = densities * (ends - starts)
    dense, columns = _rows(thickness, rays, offsets)
    before = transmittances(dense)[rays, columns]
    return torch.where(before >= early_stop, before * -torch.expm1(-thickness), 0.0)


def composite_reference(
    densities: Tensor, colors: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `composite`."""
    weights = weights_reference(densities, starts, ends, offsets, early_stop)
    rays, count = ray_of_each(offsets), len(offsets) - 1
    color = colors.new_zeros(count, colors.shape[1]).index_add(0, rays, weights[:, None] * colors)
    depth = weights.new_zeros(count).index_add(0, rays, weights * (starts + ends) / 2)
    return weights, color, depth, weights.new_zeros(count).index_add(0, rays, weights)


def _backward_reference(
    for_weights: Tensor | None,
    for_color: Tensor,
    for_depth: Tensor,
    for_opacity: Tensor,
    densities: Tensor,
    colors: Tensor,
    starts: Tensor,
    ends: Tensor,
    offsets: Tensor,
    early_stop: float,
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        inputs = densities.detach().requires_grad_(True), colors.detach().requires_grad_(True)
        outputs = composite_reference(*inputs, starts, ends, offsets, early_stop)
        cotangents = (torch.zeros_like(densities) if for_weights is None else for_weights, for_color, for_depth)
        return torch.autograd.grad(outputs, inputs, (*cotangents, for_opacity))


composite_operation = Operation(
    name="composite",
    schema=(
        "(Tensor densities, Tensor colors, Tensor starts, Tensor ends, Tensor offsets, float early_stop) "
        "-> (Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=composite_reference,
    fake=lambda densities, colors, starts, ends, offsets, early_stop: (
        torch.empty_like(densities),
        colors.new_empty(offsets.shape[0] - 1, colors.shape[1]),
        densities.new_empty(offsets.shape[0] - 1),
        densities.new_empty(offsets.shape[0] - 1),
    ),
    cpu="onefield.kernels.cpu.composite:composite",
    cuda="onefield.kernels.cuda.composite:composite",
)

composite_backward_operation = Operation(
    name="composite_backward",
    schema=(
        "(Tensor? for_weights, Tensor for_color, Tensor for_depth, Tensor for_opacity, Tensor densities, "
        "Tensor colors, Tensor starts, Tensor ends, Tensor offsets, float early_stop) -> (Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_weights, for_color, for_depth, for_opacity, densities, colors, *_: (
        torch.empty_like(densities),
        torch.empty_like(colors),
    ),
    cpu="onefield.kernels.cpu.composite:composite_backward",
    cuda="onefield.kernels.cuda.composite:composite_backward",
)

weights_operation = Operation(
    name="rendering_weights",
    schema="(Tensor densities, Tensor starts, Tensor ends, Tensor offsets, float early_stop) -> Tensor",
    reference=weights_reference,
    fake=lambda densities, *_: torch.empty_like(densities),
    cpu="onefield.kernels.cpu.composite:rendering_weights",
    cuda="onefield.kernels.cuda.composite:rendering_weights",
)


def _setup(ctx, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.early_stop = inputs
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _backward(ctx, for_weights, for_color, for_depth, for_opacity) -> tuple:
    densities, colors, _, _, offsets = ctx.saved_tensors
    rays = offsets.shape[0] - 1
    for_color = colors.new_zeros(rays, colors.shape[1]) if for_color is None else for_color
    for_depth = densities.new_zeros(rays) if for_depth is None else for_depth
    for_opacity = densities.new_zeros(rays) if for_opacity is None else for_opacity
    for_densities, for_colors = composite_backward_operation(
        for_weights, for_color, for_depth, for_opacity, *ctx.saved_tensors, ctx.early_stop
    )
    return for_densities, for_colors, None, None, None, None


composite_operation.register_autograd(_backward, _setup)


def composite(
    densities: Float[Tensor, "N"],
    colors: Float[Tensor, "N C"],
    starts: Float[Tensor, "N"],
    ends: Float[Tensor, "N"],
    offsets: Int[Tensor, "R+1"],
    early_stop: float = 1e-4,
) -> Composited:
    """Weights, and what each ray accumulates, without a background.

    Gradients go to densities and colours, from all four results; the kernels' backward can't be differentiated again
    (``use("reference")`` can), and interval limits are constants.

    Args:
        densities: per world unit, >= 0.
        colors: any number of channels.
        starts, ends, offsets: intervals, packed as in `RaySamples`.
        early_stop: transmittance below which samples are ignored; 0 ignores none.
    """
    return Composited(*composite_operation(densities, colors, starts, ends, offsets, early_stop))


def rendering_weights(
    densities: Float[Tensor, "N"],
    starts: Float[Tensor, "N"],
    ends: Float[Tensor, "N"],
    offsets: Int[Tensor, "R+1"],
    early_stop: float = 1e-4,
) -> Float[Tensor, "N"]:
    """The weights that `composite` would give, without gradients: for finding the samples that can be seen."""
    with torch.no_grad():
        return weights_operation(densities, starts, ends, offsets, early_stop)
