"""Pictures from their derivatives, and pictures put together by them (the Poisson equation)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DataError, UsageError, nearest_name
from onefield.fields.field import Field
from onefield.fields.gradients import spatial_gradient, spatial_laplacian
from onefield.training.recipes import target_of
from onefield.training.tasks.inpainting import mask_for
from onefield.training.tasks.task import Problem, SignalLike, Task, only_images, signal_from

DERIVATIVES = ("gradient", "laplacian")
# Weight of squared slopes, per pixel, against squared values: errors of slopes add up over many pixels.
_SLOPES = 10.0


@dataclass(frozen=True)
class Slopes:
    """Derivatives along one axis between neighbouring pixels.

    Attributes:
        axis: of coordinates, 0 for x.
        points: midway between two pixels' centres.
        values: difference of the pixels, so a slope times a pixel's side.
    """

    axis: int
    points: Float[Tensor, "n 2"]
    values: Float[Tensor, "n c"]


def slopes_of(signal: Signal) -> list[Slopes]:
    """Differences of all neighbouring pixels along x, then along y; those with an unknown pixel are left out."""
    cell = 1 / max(signal.shape)
    centers = signal.points(torch.arange(signal.values[..., 0].numel())).reshape(*signal.shape, 2)
    found = []
    for axis, row in ((0, 1), (1, 0)):
        values = torch.diff(signal.values, dim=row).reshape(-1, signal.channels)
        points = centers.narrow(row, 0, signal.shape[row] - 1).reshape(-1, 2).clone()
        points[:, axis] += cell / 2
        known = torch.isfinite(values).all(-1)
        found.append(Slopes(axis, points[known], values[known]))
    return found


class SlopeSamples:
    """Batches of slopes, and of the pixels whose values are given, if any."""

    def __init__(
        self, signal: Signal, slopes: list[Slopes], given: Int[Tensor, "n"], generator: torch.Generator
    ) -> None:
        self._signal, self._given, self._generator = signal, given, generator
        # a single row has none down its columns
        self._slopes = [part for part in slopes if len(part.values)]
        self._cell, self._scale = 1 / max(signal.shape), target_of(signal).scale

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared errors of slopes, and of values where there are some, relative to the picture's range."""
        total = given_loss(field, self._signal, self._given, self._scale, batch // 2, self._generator)
        for part in self._slopes:
            count = min(max(1, batch // 4), len(part.values))
            picked = torch.randint(len(part.values), (count,), generator=self._generator)
            found = spatial_gradient(field, part.points[picked], "value", create_graph=True)[..., part.axis]
            error = (found * self._cell - part.values[picked]) / self._scale
            total = total + _SLOPES * error.square().mean()
        return total


class LaplacianSamples:
    """Batches of Laplacians in a picture's inside, and of the values on its border."""

    def __init__(self, signal: Signal, generator: torch.Generator) -> None:
        values, (height, width) = signal.values, signal.shape
        inside = values[1:-1, 1:-1]
        self._values = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inside
        self._values = self._values.reshape(-1, signal.channels)
        numbers = torch.arange(height * width).reshape(height, width)
        self._places = numbers[1:-1, 1:-1].flatten()
        known = torch.isfinite(self._values).all(-1)
        self._values, self._places = self._values[known], self._places[known]
        self._signal, self._generator = signal, generator
        self._border = border_of(numbers)
        self._cell, self._scale = 1 / max(signal.shape), target_of(signal).scale
        self._tried = False

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared errors of both, relative to the picture's range.

        Raises:
            UsageError: a field that is linear piece by piece.
        """
        picked = torch.randint(len(self._places), (min(batch, len(self._places)),), generator=self._generator)
        points = self._signal.points(self._places[picked])
        try:
            found = spatial_laplacian(field, points, "value", create_graph=True) * self._cell**2
            if bool(found.any()) and not self._tried:
                # kernels may stop at second derivatives, which only shows where the loss is derived by parameters
                learned = [parameter for parameter in field.parameters() if parameter.requires_grad]
                torch.autograd.grad(found.sum(), learned, retain_graph=True, allow_unused=True)
                self._tried = True
        except NotImplementedError as error:
            raise UsageError(
                "This field's operations are not differentiable three times; take a network of coordinates, such as "
                "'siren'."
            ) from error
        if not bool(found.any()):
            raise UsageError(
                "This field is linear piece by piece, so that it has no second derivatives; take a smooth one, such as "
                "'siren'."
            )
        error = (found - self._values[picked]) / self._scale
        values = given_loss(field, self._signal, self._border, self._scale, batch // 4, self._generator)
        return _SLOPES * error.square().mean() + values


def border_of(numbers: Int[Tensor, "h w"]) -> Int[Tensor, "n"]:
    """The outermost rows and columns of a table."""
    return torch.cat([numbers[0], numbers[-1], numbers[1:-1, 0], numbers[1:-1, -1]])


def given_loss(
    field: Field, signal: Signal, given: Int[Tensor, "n"], scale: float, most: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean squared error at some of the pixels whose values are given; 0 without any."""
    if len(given) == 0:
        return signal.values.new_zeros(())
    picked = given[torch.randint(len(given), (max(1, min(most, len(given))),), generator=generator)]
    answer = field.query(signal.points(picked), want=("value",)).value
    return ((answer - signal.at(picked)) / scale).square().mean()


@dataclass(frozen=True)
class FromDerivatives(Task):
    """A picture from nothing but its slopes, or from its Laplacian and its border (Sitzmann et al. 2020, section 4.2).

    The signal is the picture whose derivatives are taken; it is the truth that the answer is scored against, after both
    got the same mean where slopes alone are given.

    Attributes:
        derivative: ``"gradient"`` or ``"laplacian"``.
    """

    derivative: str = "gradient"
    name = "from-derivatives"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for an image.

        Raises:
            UsageError: no image, or an unknown derivative.
            DataError: an image without neighbouring pixels, or without an inside.
        """
        only_images(signal, self.name)
        if self.derivative not in DERIVATIVES:
            raise UsageError(f"Unknown derivative '{self.derivative}': {nearest_name(self.derivative, DERIVATIVES)}.")
        least = 2 if self.derivative == "gradient" else 3
        if min(signal.shape) < least:
            raise DataError(
                f"A {self.derivative} needs {least} pixels a side or more, but this is {signal.description}."
            )
        if self.derivative == "gradient":
            nothing = torch.empty(0, dtype=torch.long)
            evidence = SlopeSamples(signal, slopes_of(signal), nothing, generator)
            return Problem(signal, signal.shape, evidence, None, signal.values, signal.value_range, level=True)
        evidence = LaplacianSamples(signal, generator)
        return Problem(signal, signal.shape, evidence, None, signal.values, signal.value_range)


@dataclass(frozen=True)
class Composition(Task):
    """A part of one picture in another, without a seam (Perez et al. 2003, "Poisson image editing").

    Where the mask is, the field's slopes are those of the inserted picture, or of the background where these are
    steeper and ``mixed`` is asked; elsewhere its values are the background's. The answer is scored against the exact
    solution on the pixels' grid; the baseline is the part pasted as it is.

    Attributes:
        insert: a picture of the background's size.
        mask: where it goes, above half of the mask's range.
        mixed: take the steeper slope of the two pictures, for things with holes.
    """

    insert: SignalLike | None = None
    mask: SignalLike | None = None
    mixed: bool = False
    name = "compose"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for an image.

        Raises:
            UsageError: no image, or insert or mask missing.
            DataError: pictures of different shapes, with unknown pixels, or a mask of nothing or all.
        """
        only_images(signal, self.name)
        if self.insert is None or self.mask is None:
            raise UsageError("The task 'compose' needs a picture to insert and a mask of where it goes.")
        inserted = signal_from(self.insert)
        if inserted.values.shape != signal.values.shape:
            raise DataError(
                f"The inserted picture has shape {tuple(inserted.values.shape)}, but the background has "
                f"{tuple(signal.values.shape)}; scale and place it first."
            )
        if not bool(torch.isfinite(signal.values).all() and torch.isfinite(inserted.values).all()):
            raise DataError("Composing needs pictures without unknown pixels; fill them in first ('inpaint').")
        inside = mask_for(self.mask, signal.shape)
        if not bool(inside.any()) or bool(inside.all()):
            raise DataError("The mask should cover a part of the picture, but it covers nothing or all of it.")
        slopes = _mixed(slopes_of(signal), slopes_of(inserted), inside, self.mixed)
        given = torch.nonzero(~inside.flatten()).flatten()
        solved = solve_poisson(signal.values, slopes, inside)
        pasted = torch.where(inside[..., None], inserted.values, signal.values)
        evidence = SlopeSamples(signal, slopes, given, generator)
        counted = torch.nonzero(inside.flatten()).flatten()
        return Problem(signal, signal.shape, evidence, pasted, solved, signal.value_range, counted=counted)


def _mixed(below: list[Slopes], above: list[Slopes], inside: Bool[Tensor, "h w"], steeper: bool) -> list[Slopes]:
    """The slopes of the composition."""
    chosen = []
    for background, insert in zip(below, above, strict=True):
        row = 1 - background.axis
        # a slope is the insert's if one of its two pixels is inside
        count = inside.shape[row] - 1
        touched = (inside.narrow(row, 0, count) | inside.narrow(row, 1, count)).flatten()
        if steeper:
            touched = touched & (insert.values.norm(dim=-1) > background.values.norm(dim=-1))
        values = torch.where(touched[:, None], insert.values, background.values)
        chosen.append(Slopes(background.axis, background.points, values))
    return chosen


def solve_poisson(
    values: Float[Tensor, "h w c"], slopes: list[Slopes], inside: Bool[Tensor, "h w"]
) -> Float[Tensor, "h w c"]:
    """Pixels inside whose differences are nearest to given ones, with the others as they are: sparse least squares.

    Args:
        slopes: of all neighbours, as `slopes_of` lists them.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    height, width = inside.shape
    numbers = np.arange(height * width).reshape(height, width)
    unknown = inside.numpy().ravel()
    flat = values.reshape(-1, values.shape[-1]).double().numpy()
    first = np.concatenate([numbers[:, :-1].ravel(), numbers[:-1].ravel()])
    second = np.concatenate([numbers[:, 1:].ravel(), numbers[1:].ravel()])
    wanted = torch.cat([part.values for part in slopes]).double().numpy()
    touched = unknown[first] | unknown[second]
    first, second, wanted = first[touched], second[touched], wanted[touched]
    rows = np.arange(len(first))
    places = np.concatenate([first, second])
    signs = np.concatenate([-np.ones(len(first)), np.ones(len(first))])
    differences = coo_matrix((signs, (np.tile(rows, 2), places)), shape=(len(rows), unknown.size)).tocsc()
    system = differences[:, unknown]
    right = wanted - differences[:, ~unknown] @ flat[~unknown]
    solved = flat.copy()
    solved[unknown] = splu((system.T @ system).tocsc()).solve(system.T @ right)
    return torch.from_numpy(solved).float().reshape(values.shape)
