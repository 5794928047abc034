"""Examples of clouds and the solids they come from, made of a few shapes by turning, stretching and cropping them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.data.signals import Shape
from onefield.kernels.point_mesh import winding_number

# Points of a shape's surface from which the clouds of all its examples are drawn.
_POOL = 2**15
# A shape is closed where its winding number is near a whole one nearly everywhere in its domain: holes a few hundredths
# of its size may stay open.
_NEAR_WHOLE, _WHOLE_SHARE, _TRIED = 0.1, 0.99, 2**13
# Each axis is stretched by up to this factor, or shrunk by as much.
_STRETCH = 1.25
# Room about a whole shape, as a part of its longest side: that which clouds of points get.
_MARGIN = 0.1
# A quarter of the examples are parts of a shape, at least so many times as long as the whole.
_PARTS, _LEAST_PART = 0.25, 0.5
# Points of a cloud, and standard deviations of its noise in parts of the cube's side.
_FEWEST_POINTS, _MOST_POINTS, _MOST_NOISE = 300, 3000, 0.01
# Half of the questions are asked about the surface, at this standard deviation in parts of the cube's side.
_NEAR = 0.03


@dataclass(frozen=True)
class Solid:
    """A closed shape to learn from.

    Attributes:
        name: as people know it.
        surface: points spread evenly over it, in the shape's frame.
    """

    name: str
    shape: Shape
    surface: Float[Tensor, "p 3"]

    @staticmethod
    def of(name: str, shape: Shape, generator: torch.Generator) -> Solid:
        """Draws the points."""
        return Solid(name, shape, shape.surface_points(_POOL, generator))


@dataclass(frozen=True)
class Example:
    """A cloud and what is inside the solid it comes from, in the unit cube.

    Attributes:
        points: noisy ones of the surface.
        queries: anywhere in the cube.
        inside: of each query.
    """

    points: Float[Tensor, "n 3"]
    queries: Float[Tensor, "q 3"]
    inside: Bool[Tensor, "q"]


def is_closed(shape: Shape) -> bool:
    """Whether nearly all of space is clearly inside or outside, by the winding number (Jacobson et al. 2013)."""
    points = shape.domain.from_unit(torch.rand(_TRIED, 3, generator=torch.Generator().manual_seed(0)))
    winding = winding_number(points, shape.tree)
    return ((winding - winding.round()).abs() < _NEAR_WHOLE).float().mean().item() >= _WHOLE_SHARE


def draw_example(solids: Sequence[Solid], queries: int, generator: torch.Generator) -> Example:
    """One of the solids, turned or mirrored, stretched, whole or cropped, seen as a noisy cloud.

    Args:
        queries: how many.
        generator: of all that is drawn.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    solid = solids[int(torch.randint(len(solids), (), generator=generator))]
    stretch = torch.diag(torch.tensor([_STRETCH ** uniform(-1, 1) for _ in range(3)]))
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    center = torch.tensor(solid.shape.domain.center)
    placed = (solid.surface - center) @ stretch @ turn
    low, high = placed.amin(0), placed.amax(0)
    middle, side = (low + high) / 2, (high - low).max().item() * (1 + 2 * _MARGIN)
    if uniform(0, 1) < _PARTS:
        middle = placed[int(torch.randint(len(placed), (), generator=generator))]
        side *= uniform(_LEAST_PART, 1)
    corner = middle - side / 2
    unit = (placed - corner) / side
    seen = unit[((unit >= 0) & (unit <= 1)).all(-1)]
    count = round(math.exp(uniform(math.log(_FEWEST_POINTS), math.log(_MOST_POINTS))))
    kept = seen[torch.randperm(len(seen), generator=generator)[:count]]
    noise = uniform(0, _MOST_NOISE) * torch.randn(kept.shape, generator=generator)
    near = seen[torch.randint(len(seen), (queries // 2,), generator=generator)]
    near = near + _NEAR * torch.randn(near.shape, generator=generator)
    asked = torch.cat([near.clamp(0, 1), torch.rand(queries - len(near), 3, generator=generator)])
    before = (asked * side + corner) @ torch.linalg.inv(stretch @ turn) + center
    return Example(kept + noise, asked, solid.shape.contains(before))
