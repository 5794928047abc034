"""Open surfaces whose closest points are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from onefield.fields.field import Field
from onefield.types import Bounds, Sample

RADIUS = 0.6
HEIGHT = 0.013
LOW, HIGH = (-0.5, -0.4), (0.6, 0.55)


class ClosestPoints(Field):
    """A field without parameters over one closest point."""

    provides = frozenset({"closest_point", "distance"})

    def __init__(self, closest: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.domain = Bounds.cube(1.0)
        self.closest = closest

    def _evaluate(self, points, directions, time, want):
        found = self.closest(points)
        return Sample(closest_point=found, distance=(found - points).norm(dim=-1))


def sphere(points: Tensor) -> Tensor:
    return RADIUS * torch.nn.functional.normalize(points, dim=-1)


def half_sphere(points: Tensor) -> Tensor:
    """The upper half of a sphere about the origin."""
    return torch.where(points[:, 2:] >= 0, sphere(points), sphere(points * torch.tensor([1.0, 1.0, 0.0])))


def disc(points: Tensor) -> Tensor:
    """Across the z axis."""
    beside = points[:, :2]
    length = beside.norm(dim=-1, keepdim=True)
    held = beside * (RADIUS / length.clamp(min=RADIUS))
    return torch.cat([held, torch.full_like(points[:, 2:], HEIGHT)], dim=1)


def patch(points: Tensor) -> Tensor:
    """A rectangle across the z axis."""
    x, y = (points[:, n].clamp(LOW[n], HIGH[n]) for n in range(2))
    return torch.stack([x, y, torch.full_like(x, HEIGHT)], dim=1)


def turned(closest: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same surface, turned so that no axis lies along the grid."""
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    return lambda points: closest(points @ rotation) @ rotation.T


AREAS = {
    half_sphere: 2 * math.pi * RADIUS**2,
    disc: math.pi * RADIUS**2,
    patch: math.prod(high - low for low, high in zip(LOW, HIGH, strict=True)),
}
RIMS = {
    half_sphere: 2 * math.pi * RADIUS,
    disc: 2 * math.pi * RADIUS,
    patch: 2 * sum(high - low for low, high in zip(LOW, HIGH, strict=True)),
}
