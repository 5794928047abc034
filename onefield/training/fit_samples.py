"""What a fit is held against, batch by batch: samples of signals and of shapes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from onefield.data.signals import Shape, Signal, cell_centers
from onefield.fields.field import Field
from onefield.training.fit_methods import FitParts, SampleBatch, squared_error
from onefield.training.recipes import Target

# Distances below this part of the domain's side weigh alike in the relative loss of shapes.
_NEAR = 0.002
# Samples of a shape: a pool with exact answers and one on the surface, of which each step draws a batch.
_POOL = 2**19
_SURFACE_POOL = 2**21
# Short fits see each sample with a distance this often, so that finding distances does not outlast them.
_POOL_REUSE = 16


class SignalSamples:
    """Batches of a signal's known samples: each sample once an epoch, neighbours in memory kept together."""

    def __init__(
        self, signal: Signal, target: Target, generator: torch.Generator, parts: FitParts | None = None
    ) -> None:
        """Prepares the samples.

        Args:
            target: whose scale errors are relative to.
            parts: which may pick the samples, ask the field in a way of their own and say what is made small.
        """
        parts = parts or FitParts()
        self._ask = parts.ask or _queried
        self._pick = parts.pick or self._next_of_epoch
        self._errors = (parts.error or squared_error, *parts.extra)
        self._signal = signal
        self._known = signal.known()
        self._scale = target.scale
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.long)

    def loss(self, field: Field, batch: int) -> Tensor:
        """Mean square of the errors at so many samples, relative to the target's scale, or what the parts say."""
        picked = self._pick(field, batch)
        points = self._signal.points(picked)
        truth = self._signal.at(picked)
        answer = self._ask(field, points, truth)
        asked = SampleBatch(points, answer, truth, self._scale, self._signal.value_range)
        return sum(error(field, asked) for error in self._errors)

    def _next_of_epoch(self, field: Field, batch: int) -> Tensor:
        del field
        count = min(batch, len(self._known))
        if len(self._order) < count:
            self._order = torch.randperm(len(self._known), generator=self._generator)
        # sorted indices walk through tables of features in order
        picked = self._known[self._order[:count].sort().values]
        self._order = self._order[count:]
        return picked


def _queried(field: Field, points: Tensor, truth: Tensor) -> Tensor:
    del truth
    return field.query(points, want=("value",)).value


class GridSamples:
    """Batches of a signal's samples that are grids themselves: random places along each axis, in all combinations."""

    def __init__(self, signal: Signal, target: Target, generator: torch.Generator) -> None:
        """Prepares the samples; see `SignalSamples`."""
        self._signal = signal
        self._scale = target.scale
        self._generator = generator
        self._centers = cell_centers(signal.shape)

    def loss(self, field: Field, batch: int) -> Tensor:
        """Mean square of the errors at about ``batch`` samples, relative to the target's scale."""
        share = min(1.0, batch / math.prod(self._signal.shape)) ** (1 / len(self._signal.shape))
        picked = [
            torch.randperm(side, generator=self._generator)[: math.ceil(side * share)].sort().values
            for side in self._signal.shape
        ]
        truth = self._signal.values
        for axis, places in enumerate(picked):
            truth = truth.index_select(axis, places)
        columns = [axis[places] for axis, places in zip(self._centers, reversed(picked), strict=True)]
        answer = field.query_grid(columns, want=("value",)).value
        error = (answer.permute(*reversed(range(len(picked))), len(picked)) - truth) / self._scale
        known = torch.isfinite(truth).all(-1)
        # a batch of nothing but unknown samples has no error, and moves nothing
        return error[known].square().sum() / max(1, int(known.sum()) * truth.shape[-1])


class ShapeSamples:
    """Batches of a shape's distances: half on the surface, where they are 0 and cost nothing, half from a pool."""

    def __init__(self, shape: Shape, draws: int, generator: torch.Generator) -> None:
        """Draws the pools.

        Args:
            draws: of samples with a distance in the whole fit.
        """
        self._generator = generator
        self._side = shape.scale
        self._surface = shape.surface_points(min(_SURFACE_POOL, draws), generator)
        self._points = shape_samples(shape, min(_POOL, draws // _POOL_REUSE), generator)
        self._distances = shape.distance(self._points)

    def loss(self, field: Field, batch: int) -> Tensor:
        """Mean error relative to the distance, at so many samples."""
        half = batch // 2
        on = torch.randint(len(self._surface), (batch - half,), generator=self._generator)
        off = torch.randint(len(self._points), (half,), generator=self._generator)
        points = torch.cat([self._surface[on], self._points[off]])
        truth = torch.cat([torch.zeros(batch - half), self._distances[off]])
        answer = field.query(points, want=("distance",)).distance
        # relative, so that the surface counts most (the loss of instant-ngp's shapes)
        return ((answer - truth).abs() / (truth.abs() + _NEAR * self._side)).mean()


class OccupancySamples:
    """Batches of points that are inside a shape or not, most of them about its surface."""

    def __init__(self, shape: Shape, draws: int, generator: torch.Generator) -> None:
        """Draws the pool.

        Args:
            draws: of samples in the whole fit.
        """
        self._generator = generator
        # one bit says less than a distance, and is found sooner: no reuse in short fits
        self._points = shape_samples(shape, min(_POOL, draws), generator)
        self._inside = shape.contains(self._points).float()

    def loss(self, field: Field, batch: int) -> Tensor:
        """Mean cross entropy at so many samples (Mescheder et al., "Occupancy Networks", 2019)."""
        drawn = torch.randint(len(self._points), (batch,), generator=self._generator)
        answer = field.query(self._points[drawn], want=("occupancy",)).occupancy
        return binary_cross_entropy(answer, self._inside[drawn])


def shape_samples(shape: Shape, count: int, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    """Points by which a shape is learned: a quarter anywhere in its domain, the others about the surface at standard
    deviations of 0.2 and 2 percent of the domain's side."""
    uniform = shape.domain.from_unit(torch.rand(count // 4, 3, generator=generator))
    near = shape.surface_points(count - len(uniform), generator)
    width = torch.full((len(near), 1), 0.002 * shape.scale)
    width[: len(near) // 3] = 0.02 * shape.scale
    near = near + width * torch.randn(near.shape, generator=generator)
    return torch.cat([uniform, near])
