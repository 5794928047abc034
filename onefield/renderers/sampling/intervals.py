"""Intervals along rays: limits in a box, spacing, and packing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.types import Bounds, Rays, RaySamples

# Least distance at which anything is sampled, in units of the region's half side: nothing in focus is nearer to a lens.
DEFAULT_NEAR = 0.05


def ray_limits(rays: Rays, box: Bounds, near: float = 0.0) -> tuple[Float[Tensor, "R"], Float[Tensor, "R"]]:
    """Where each ray is inside the box, within its own limits and beyond ``near``; far = near where it misses."""
    inverse = 1 / rays.directions
    a = (rays.origins.new_tensor(box.minimum) - rays.origins) * inverse
    b = (rays.origins.new_tensor(box.maximum) - rays.origins) * inverse
    # 0 * inf: the ray runs in a face of the box, which counts as inside on that axis
    enter = torch.minimum(a, b).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).amax(-1)
    leave = torch.maximum(a, b).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).amin(-1)
    first = enter.clamp(min=near) if rays.near is None else torch.maximum(enter, rays.near).clamp(min=near)
    last = leave if rays.far is None else torch.minimum(leave, rays.far)
    missed = ~(first < last)
    # a finite place for rays that miss: their intervals have no length
    first = torch.where(missed, near, first)
    return first, torch.where(missed, first, last)


def spread(distance: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Distance to a coordinate that is linear up to 1 and linear in disparity beyond: ``t/2``, then ``1 - 1/(2t)``."""
    return torch.where(distance < 1, distance / 2, 1 - 1 / (2 * distance.clamp(min=1)))


def gather_back(coordinate: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Inverse of `spread`."""
    return torch.where(coordinate < 0.5, 2 * coordinate, 1 / (2 - 2 * coordinate.clamp(min=0.5)))


def edges_between(
    near: Float[Tensor, "R"], far: Float[Tensor, "R"], parts: Float[Tensor, "R S+1"], disparity: bool
) -> Float[Tensor, "R S+1"]:
    """Distances at parts in [0, 1] of the way from near to far, evenly or evenly as `spread` says."""
    if not disparity:
        return torch.lerp(near[:, None], far[:, None], parts)
    return gather_back(torch.lerp(spread(near)[:, None], spread(far)[:, None], parts))


def even_parts(rays: int, count: int, like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "R S+1"]:
    """``count`` adjoining intervals of [0, 1]; with a generator inner edges move by up to half an interval."""
    edges = torch.linspace(0, 1, count + 1, device=like.device, dtype=like.dtype).expand(rays, count + 1)
    if generator is None or count == 1:
        return edges
    shift = uniform((rays, count - 1), like, generator) - 0.5
    return torch.cat([edges[:, :1], edges[:, 1:-1] + shift / count, edges[:, -1:]], dim=1)


def uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers in [0, 1) drawn where the generator lives, so that they repeat on every device."""
    return torch.rand(shape, generator=generator, device=generator.device).to(like)


def pack(edges: Float[Tensor, "R S+1"], keep: Bool[Tensor, "R"] | None = None) -> RaySamples:
    """Adjoining intervals of equal number as packed samples; rays that are not kept have none."""
    rays, count = edges.shape[0], edges.shape[1] - 1
    indices = torch.arange(rays, device=edges.device)
    counts = torch.full_like(indices, count)
    if keep is not None:
        indices, counts, edges = indices[keep], counts * keep, edges[keep]
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return RaySamples(indices.repeat_interleave(count), edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1), offsets)


def points_on(rays: Rays, samples: RaySamples) -> Float[Tensor, "N 3"]:
    """World positions of the samples' midpoints."""
    origins = rays.origins.index_select(0, samples.ray_indices)
    return torch.addcmul(origins, rays.directions.index_select(0, samples.ray_indices), samples.midpoints[:, None])
