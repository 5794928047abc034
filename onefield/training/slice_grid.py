"""A smooth signed distance on a grid from slices, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.data.slice_samples import SliceSamples
from onefield.errors import DivergedError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.losses.lattice import cell_gradients, squared_derivatives
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.slice_task import SliceTask
from onefield.types import Bounds

# Share of the peak rate that is left at the end of a level.
_FINAL_RATE = 0.05
# Spacing of the vertices for which the rate is given; it falls with the spacing.
_RATE_AT = 0.05
# The first surface: the ellipsoid in the box, this much smaller.
_FIRST_SIZE = 0.8
# How far from the solid the border of the box is kept, in cells of the level.
_BORDER_CELLS = 0.5


@dataclass(frozen=True)
class GridSettings:
    """How the grid learns; lengths are in half the longest side of the box, in which the terms are weighed.

    Attributes:
        levels: vertices along the longest side, coarse to fine.
        rate: of Adam, in distance a step, at a spacing of 0.05.
        batch: points on planes a step; a third as many on the contours.
        stiffness: length over which the surface resists bending, in gaps between the planes.
        slope: weight of the squared difference of the gradient's length from 1.
        band: distance from the surface at which the smoothness counts half.
        elsewhere: what it counts far from the surface.
        bounded: whether distances on a plane are held below those to its contours, which they can't exceed.
    """

    levels: tuple[int, ...] = (12, 22, 42)
    rate: float = 0.02
    batch: int = 4000
    stiffness: float = 0.8
    slope: float = 1e-4
    band: float = 0.1
    elsewhere: float = 0.05
    bounded: bool = True


def level_shape(bounds: Bounds, vertices: int) -> tuple[int, ...]:
    """Vertices along each axis that give nearly cubic cells, at least 4."""
    longest = max(bounds.extent)
    return tuple(max(4, 1 + round((vertices - 1) * side / longest)) for side in bounds.extent)


def train_grid(field: ComposedField, task: SliceTask, settings: GridSettings) -> int:
    """Trains a dense grid with a distance head in place.

    The distance is 0 on the contours; on each plane it is negative inside, positive outside, and no larger than the
    distance to the plane's own contours, since the nearest surface can only be nearer. Between the planes the surface
    is the one that bends least: squared second derivatives near the surface, with the slope held near 1.

    Args:
        field: a dense grid in the slices' box, its distances in half the longest side; its resolution becomes that of
            the last level.

    Returns:
        Steps that were taken.

    Raises:
        DivergedError: the loss is not finite.
    """
    step = 0
    for number, vertices in enumerate(settings.levels):
        shape = level_shape(field.domain, vertices)
        if number:
            field.encoding = field.encoding.upsampled(shape)
        else:
            field.encoding = DenseGridEncoding(3, shape, 1, "cubic")
            with torch.no_grad():
                field.encoding.grid[..., 0] = _first_guess(shape, field.domain)
        level = (number / len(settings.levels), (number + 1) / len(settings.levels))
        step = _train_level(field, task, settings, level, step)
    return step


def _train_level(
    field: ComposedField, task: SliceTask, settings: GridSettings, level: tuple[float, float], step: int
) -> int:
    """Trains at one resolution from one share of the training to another; answers the steps that were taken so far."""
    first, last = level
    grid = field.encoding.grid
    half = field.heads["distance"].scale
    sides = zip(field.domain.extent, grid.shape, strict=False)
    spacing = [side / half / (count - 1) for side, count in sides]
    optimizer = Adam({"grid": grid}, {"grid": "grid"}, {"grid": GroupRate(settings.rate * max(spacing) / _RATE_AT)})
    # where terms in the slope and in its derivative balance is a length: the two weights differ by its square
    bending = settings.slope * (settings.stiffness * task.slices.gap / half) ** 2
    begun = step
    while (share := task.share_done(step)) < last or step == begun:
        optimizer.zero_gradients()
        loss = _plane_loss(field, task.samples, settings, half, task.generator) + _smoothness(
            grid[..., 0], spacing, bending, settings
        )
        loss.backward()
        if not torch.isfinite(loss):
            raise DivergedError(f"The grid lost all finite values at step {step}; give fewer or cleaner slices.")
        progress = min(max((share - first) / (last - first), 0.0), 1.0)
        optimizer.step(_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2)
        step += 1
        task.observe(share, step, loss.item())
    return step


def _first_guess(shape: tuple[int, ...], domain: Bounds) -> Float[Tensor, "x y z"]:
    """About the distance to the ellipsoid that fills the box, in half sides."""
    axes = [torch.linspace(-1, 1, count) for count in shape]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
    return (radius - _FIRST_SIZE) * min(domain.extent) / max(domain.extent)


def _plane_loss(
    field: ComposedField, samples: SliceSamples, settings: GridSettings, half: float, generator: torch.Generator
) -> Float[Tensor, ""]:
    on_plane = torch.randint(len(samples.points), (settings.batch,), generator=generator)
    on_contour = torch.randint(len(samples.contour), (settings.batch // 3,), generator=generator)
    points = torch.cat([samples.points[on_plane], samples.contour[on_contour]])
    distance = field.query(points, want=("distance",)).distance / half
    side = torch.where(samples.inside[on_plane], -1.0, 1.0)
    signed = side * distance[: len(on_plane)]
    wrong = functional.relu(-signed)
    if settings.bounded:
        wrong = wrong + functional.relu(signed - samples.distance[on_plane] / half)
    return wrong.square().mean() + distance[len(on_plane) :].square().mean()


def _smoothness(
    values: Float[Tensor, "x y z"], spacing: list[float], bending: float, settings: GridSettings
) -> Float[Tensor, ""]:
    near = (1 / (1 + (values.detach() / settings.band).square())) + settings.elsewhere
    length = torch.linalg.vector_norm(cell_gradients(values, spacing), dim=0)
    total = settings.slope * ((length - 1).square() * near[1:, 1:, 1:]).mean()
    total = total + bending * squared_derivatives(values, spacing, 2, near)
    # closed at the border of the box
    kept = _BORDER_CELLS * max(spacing)
    faces = [values.select(axis, end) for axis in range(3) for end in (0, -1)]
    return total + torch.stack([functional.relu(kept - face).square().mean() for face in faces]).sum()
