"""More samples than a camera gave: a field whose means over the camera's pixels are what it saw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from onefield.data.signals import Signal
from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.training.recipes import target_of
from onefield.training.tasks.task import Problem, SignalLike, Task, truth_for
from onefield.training.variation import field_variation


def block_means(values: Float[Tensor, "*axes c"], factor: int) -> Float[Tensor, "*coarse c"]:
    """Means over blocks of ``factor`` samples along each axis: what a camera with so much larger pixels sees.

    Raises:
        DataError: a side that is no multiple of the factor.
    """
    sides = values.shape[:-1]
    if any(side % factor for side in sides):
        raise DataError(f"Blocks of {factor} samples do not fill a grid of {tuple(sides)}; crop it to a multiple.")
    split = [part for side in sides for part in (side // factor, factor)]
    return values.reshape(*split, values.shape[-1]).mean(tuple(range(1, 2 * len(sides), 2)))


# Weight of the total variation over the finer samples, relative to the squared error in half ranges: means over pixels
# leave open what is finer, which is chosen smooth.
_VARIATION = 2e-3


class AreaMeans:
    """Batches of pixels, each held against the field's mean over ``factor`` places along each of its axes."""

    def __init__(self, signal: Signal, factor: int, scale: float, generator: torch.Generator) -> None:
        self._signal, self._scale, self._generator = signal, scale, generator
        self._known = signal.known()
        self._order = torch.empty(0, dtype=torch.long)
        finer = [factor * side for side in signal.shape]
        self._fine = Signal(signal.kind, torch.zeros(*finer, 1), 1.0)
        self._cells = torch.arange(math.prod(finer))
        steps = ((torch.arange(factor) + 0.5) / factor - 0.5) / max(signal.shape)
        dimension = len(signal.shape)
        self._within = torch.stack(torch.meshgrid(*[steps] * dimension, indexing="ij"), -1).reshape(-1, dimension)

    def means(self, field: Field, cells: Int[Tensor, "n"]) -> Float[Tensor, "n c"]:
        """The field's means over these pixels, by their flat indices."""
        places = self._signal.points(cells)[:, None] + self._within
        return field.query(places, want=("value",)).value.mean(1)

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared error relative to the signal's range, and variation; ``batch`` counts places."""
        count = min(max(1, batch // len(self._within)), len(self._known))
        if len(self._order) < count:
            self._order = torch.randperm(len(self._known), generator=self._generator)
        picked = self._known[self._order[:count].sort().values]
        self._order = self._order[count:]
        error = ((self.means(field, picked) - self._signal.at(picked)) / self._scale).square().mean()
        variation = field_variation(field, self._fine, self._cells, self._scale, self._generator, max(1, batch // 4))
        return error + _VARIATION * variation


@dataclass(frozen=True)
class SuperResolution(Task):
    """More pixels than were taken.

    A pixel is the mean over its area; the field is held against the pixels through that mean, and asked on the finer
    grid, as WIRE's super-resolution (Saragadam et al. 2023, section 4.2).

    Attributes:
        factor: how many samples an axis for each one given, and places in the mean.
        truth: the finer signal, to score the answer.
    """

    factor: int = 2
    truth: SignalLike | None = None
    name = "super-resolve"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for an image, a volume, a video or a sound.

        Raises:
            UsageError: a factor below 2.
            DataError: a truth of another size than the answer.
        """
        if self.factor < 2 or self.factor != int(self.factor):
            raise UsageError(f"Super-resolution needs a whole factor of 2 or more, got {self.factor}.")
        shape = tuple(self.factor * side for side in signal.shape)
        evidence = AreaMeans(signal, self.factor, target_of(signal).scale, generator)
        truth = truth_for(self.truth, shape, signal.channels)
        baseline, places = _interpolated(signal, shape), math.prod(shape)
        return Problem(signal, shape, evidence, baseline, truth, signal.value_range, places=places)


def _interpolated(signal: Signal, shape: tuple[int, ...]) -> Float[Tensor, "*axes c"]:
    """Bicubic for images, else linear."""
    modes = {1: "linear", 2: "bicubic", 3: "trilinear"}
    channels_first = signal.values.movedim(-1, 0)[None]
    finer = functional.interpolate(channels_first, size=shape, mode=modes[len(shape)], align_corners=False)
    return finer[0].movedim(0, -1)
