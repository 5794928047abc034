"""Casting rays through sums of Gaussians: contract and PyTorch reference.

Density at a point is ``sigma(x) = sum_i a_i G_i(x)`` and its colour, seen along d, is the mean of the Gaussians' own,
``c(x, d) = max(0, 1/2 + sum_i a_i G_i(x) f_i(d) / sigma(x))``, with ``f_i`` a sum of spherical harmonics and of
spherical Gaussians (lobes), ``sum_k c_k Y_k(d) + sum_j k_j exp(s_j (d . p_j - 1))`` (Blanc et al., "RayGauss" (2025),
section 3). Emission and absorption are summed up over samples: with the thickness ``tau = sigma dt`` a sample weighs
``T (1 - exp(-tau))``, T what the samples before let through, and a ray ends behind ``T < early_stop``. Within a sample
no order is needed, so that nothing is sorted and nothing pops.

Samples come in slabs of `SLAB`, one after the other from a ray's start. Those of a slab have one distance, ``step`` or,
farther out, ``cone`` times the slab's start. A Gaussian counts within its reach and is 0 beyond. The kernels find those
that meet a slab through a tree of boxes; the reference compares all samples with all Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.composite import transmittances
from onefield.kernels.dispatch import Operation
from onefield.kernels.gaussian_depths import checked_shares
from onefield.kernels.gaussian_tree import gaussian_tree
from onefield.kernels.harmonic_colors import SHIFT

# Samples that a ray takes together: two of the widest usual vectors of a processor (the paper's code takes 8).
SLAB = 16
# Transmittance behind which nothing is added, as in the paper's code.
STOP = 0.003
# Columns of a lobe: unit axis, sharpness, colour.
LOBE = 7
# Pairs of samples and Gaussians that the reference holds at once.
_PAIRS = 2**20


class CastRays(NamedTuple):
    """Rays to cast.

    Attributes:
        directions: of length 1.
        basis: values of the harmonics along the directions, K of them.
        starts, ends: limits along the rays in world units, constants; the first sample lies half a step behind the
            start.
    """

    origins: Float[Tensor, "R 3"]
    directions: Float[Tensor, "R 3"]
    basis: Float[Tensor, "R K"]
    starts: Float[Tensor, "R"]
    ends: Float[Tensor, "R"]


class CastGaussians(NamedTuple):
    """Gaussians to cast rays through.

    Attributes:
        whitening: orthogonal axes divided by standard deviations, a row an axis.
        amplitudes: density of each in its middle, per world unit; above 0 where there is a reach.
        reaches: standard deviations up to which it counts, a constant; where it is not above 0 it is not there.
        harmonics: coefficients of the colour, K of them.
        lobes: axis of length 1, sharpness and colour of each lobe; J may be 0.
    """

    means: Float[Tensor, "P 3"]
    whitening: Float[Tensor, "P 3 3"]
    amplitudes: Float[Tensor, "P"]
    reaches: Float[Tensor, "P"]
    harmonics: Float[Tensor, "P K 3"]
    lobes: Float[Tensor, "P J 7"]


class Cast(NamedTuple):
    """What rays accumulate.

    Attributes:
        color: sum of weights times colours, without a background.
        depth: sum of weights times distances.
        opacity: sum of weights.
        quantiles: where so much opacity has accumulated as was asked for; infinite where it never does.
        looks: samples of each ray at which there was any density.
    """

    color: Float[Tensor, "R 3"]
    depth: Float[Tensor, "R"]
    opacity: Float[Tensor, "R"]
    quantiles: Float[Tensor, "R Q"]
    looks: Int[Tensor, "R"]


def sample_places(starts: Tensor, ends: Tensor, step: float, cone: float) -> tuple[Tensor, Tensor, Tensor]:
    """Distance, interval's length and validity of every sample, ``R S`` each; all rays have as many columns."""
    begin, places, lengths = starts, [], []
    counts = torch.arange(SLAB, device=starts.device) + 0.5
    while bool((begin < ends).any()):
        length = (cone * begin).clamp(min=step)
        places.append(begin[:, None] + counts.to(starts) * length[:, None])
        lengths.append(length[:, None].expand(-1, SLAB))
        begin = begin + SLAB * length
    if not places:
        return (starts.new_zeros(len(starts), 0),) * 2 + (starts.new_zeros(len(starts), 0, dtype=torch.bool),)
    places = torch.cat(places, 1)
    return places, torch.cat(lengths, 1), places < ends[:, None]


def _colors(directions: Tensor, basis: Tensor, harmonics: Tensor, lobes: Tensor) -> Tensor:
    """What each Gaussian shows each ray, ``R P 3``, before the shift."""
    seen = torch.einsum("rk,pkc->rpc", basis, harmonics)
    closeness = torch.einsum("ri,pji->rpj", directions, lobes[:, :, :3]) - 1
    return seen + torch.einsum("rpj,pjc->rpc", torch.exp(lobes[:, :, 3] * closeness), lobes[:, :, 4:])


def _reference(
    rays: Sequence[Tensor],
    gaussians: Sequence[Tensor],
    tree: Sequence[Tensor],
    shares: Tensor,
    step: float,
    cone: float,
    early_stop: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `cast_gaussians`."""
    (*lines, starts, ends), means = rays, gaussians[0]
    count = len(starts)
    counts = torch.zeros(count, 2, dtype=torch.int32, device=means.device)
    if len(means) == 0 or count == 0:
        nothing = means.new_zeros(count, 5) + 0 * sum(line.sum() for line in lines)
        return nothing, means.new_full((count, len(shares)), torch.inf), counts
    parts = []
    samples = sample_places(starts, ends, step, cone)
    most = max(1, _PAIRS // max(1, samples[0].shape[1] * len(means)))
    for first in range(0, count, most):
        some = slice(first, first + most)
        chosen = [line[some] for line in lines], [part[some] for part in samples]
        parts.append(_reference_rays(*chosen, gaussians, shares, early_stop))
    sums, quantiles, looks = (torch.cat(part) for part in zip(*parts, strict=True))
    counts[:, 1] = looks
    return sums, quantiles, counts


def _reference_rays(
    rays: Sequence[Tensor], samples: Sequence[Tensor], gaussians: Sequence[Tensor], shares: Tensor, early_stop: float
) -> tuple[Tensor, Tensor, Tensor]:
    origins, directions, basis = rays
    places, lengths, valid = samples
    means, whitening, amplitudes, reaches, harmonics, lobes = gaussians
    offsets = origins[:, None, None] + places[:, :, None, None] * directions[:, None, None] - means
    squared = torch.einsum("pij,rspj->rspi", whitening, offsets).square().sum(-1)
    near = valid[:, :, None] & (squared < reaches.clamp(min=0).square())
    amounts = torch.where(near, amplitudes * torch.exp(-0.5 * torch.where(near, squared, 0.0)), 0.0)
    density = amounts.sum(-1)
    hit = density > 0
    mixed = torch.einsum("rsp,rpc->rsc", amounts, _colors(directions, basis, harmonics, lobes))
    color = (mixed / torch.where(hit, density, 1.0)[..., None] + SHIFT).clamp(min=0)
    thickness = density * lengths
    behind = thickness.cumsum(1)
    before = transmittances(thickness)
    weights = torch.where(before >= early_stop, before * -torch.expm1(-thickness), 0.0)
    sums = [(weights[..., None] * color).sum(1), (weights * places).sum(1)[:, None], weights.sum(1)[:, None]]
    columns = []
    for share in shares.tolist():
        wanted = -torch.log1p(-torch.tensor(share, dtype=behind.dtype, device=behind.device))
        reached = (behind >= wanted) & (before >= early_stop)
        index = reached.int().argmax(1, keepdim=True)
        local = (wanted - (behind - thickness).gather(1, index)) / density.gather(1, index)
        place = (places - lengths / 2).gather(1, index) + local
        columns.append(torch.where(reached.any(1), place[:, 0], torch.inf))
    quantiles = torch.stack(columns, 1) if columns else places.new_zeros(len(places), 0)
    return torch.cat(sums, 1), quantiles.detach(), (hit & (before >= early_stop)).sum(1)


def _backward_reference(
    for_sums: Tensor,
    sums: Tensor,
    counts: Tensor,
    rays: Sequence[Tensor],
    gaussians: Sequence[Tensor],
    tree: Sequence[Tensor],
    step: float,
    cone: float,
    early_stop: float,
    for_rays: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    with torch.enable_grad():
        lines = [line.detach().requires_grad_(True) for line in rays[:3]]
        learned = [part.detach().requires_grad_(True) for part in (*gaussians[:3], *gaussians[4:])]
        answer, _, _ = _reference(
            (*lines, *rays[3:]), (*learned[:3], gaussians[3], *learned[3:]), tree, sums.new_zeros(0), step, cone,
            early_stop,
        )  # fmt: skip
        slopes = torch.autograd.grad(answer, (*lines, *learned), for_sums, allow_unused=True, materialize_grads=True)
    return list(slopes[:3]), list(slopes[3:])


cast_operation = Operation(
    name="gaussian_ray_cast",
    schema=(
        "(Tensor[] rays, Tensor[] gaussians, Tensor[] tree, Tensor shares, float step, float cone, float early_stop) "
        "-> (Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    fake=lambda rays, gaussians, tree, shares, step, cone, early_stop: (
        shares.new_empty(rays[0].shape[0], 5),
        shares.new_empty(rays[0].shape[0], shares.shape[0]),
        shares.new_empty((rays[0].shape[0], 2), dtype=torch.int32),
    ),
    cpu="onefield.kernels.cpu.gaussian_ray_casting:cast",
    cuda="onefield.kernels.cuda.gaussian_ray_casting:cast",
)

cast_backward_operation = Operation(
    name="gaussian_ray_cast_backward",
    schema=(
        "(Tensor for_sums, Tensor sums, Tensor counts, Tensor[] rays, Tensor[] gaussians, Tensor[] tree, float step, "
        "float cone, float early_stop, bool for_rays) -> (Tensor[], Tensor[])"
    ),
    reference=_backward_reference,
    fake=lambda for_sums, sums, counts, rays, gaussians, *_: (
        [torch.empty_like(line) for line in rays[:3]],
        [torch.empty_like(part) for part in (*gaussians[:3], *gaussians[4:])],
    ),
    cpu="onefield.kernels.cpu.gaussian_ray_casting:cast_backward",
    cuda="onefield.kernels.cuda.gaussian_ray_casting:cast_backward",
)


def _setup(ctx, inputs: tuple, output: tuple) -> None:
    rays, gaussians, tree, _, ctx.step, ctx.cone, ctx.early_stop = inputs
    sums, quantiles, counts = output
    ctx.mark_non_differentiable(quantiles, counts)
    ctx.for_rays = any(line.requires_grad for line in rays[:3])
    ctx.save_for_backward(sums, counts, *rays, *gaussians, *tree)


def _backward(ctx, for_sums: Tensor, *_) -> tuple:
    sums, counts, *inputs = ctx.saved_tensors
    rays, gaussians, tree = inputs[:5], inputs[5:11], inputs[11:]
    lines, learned = cast_backward_operation(
        for_sums, sums, counts, rays, gaussians, tree, ctx.step, ctx.cone, ctx.early_stop, ctx.for_rays
    )
    if not ctx.for_rays:
        lines = [None] * 3
    return [*lines, None, None], [*learned[:3], None, *learned[3:]], [None, None], None, None, None, None


cast_operation.register_autograd(_backward, _setup)


def cast_gaussians(
    rays: CastRays,
    gaussians: CastGaussians,
    *,
    step: float,
    cone: float = 0.0,
    early_stop: float = STOP,
    shares: Sequence[float] = (),
) -> Cast:
    """Casts rays through Gaussians.

    Gradients of colour, depth and opacity go to origins, directions and basis of the rays and to means, whitening,
    amplitudes, harmonics and lobes of the Gaussians; the kernels' backward can't be differentiated again.

    Args:
        step: distance of samples, world units, above 0.
        cone: least distance of samples as a share of a slab's distance from the origin; 0 keeps ``step`` everywhere.
        early_stop: transmittance behind which a ray ends.
        shares: of opacity in (0, 1), for `Cast.quantiles`.

    Raises:
        UsageError: a share outside (0, 1).
    """
    asked = checked_shares(shares, rays.starts)
    tree = gaussian_tree(gaussians.means, gaussians.whitening, gaussians.reaches)
    with torch.no_grad():
        ends = torch.minimum(rays.ends, _leaving(rays, tree.boxes[1]))
    sums, quantiles, counts = cast_operation(
        [*rays[:4], ends], list(gaussians), list(tree), asked, step, cone, early_stop
    )
    return Cast(sums[:, :3], sums[:, 3], sums[:, 4], quantiles, counts[:, 1])


def _leaving(rays: CastRays, box: Float[Tensor, "6"]) -> Float[Tensor, "R"]:
    """Where rays leave a box for good; 0 for those that miss it or look away from it."""
    # a ray along a face divides 0 by 0, which says nothing about the ray, so that side doesn't count
    first, last = ((box[corner] - rays.origins) / rays.directions for corner in (slice(3), slice(3, 6)))
    enter = torch.minimum(first, last).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).amax(-1)
    leave = torch.maximum(first, last).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).amin(-1)
    return torch.where((enter <= leave) & (leave > 0) & torch.isfinite(leave), leave, 0.0)
