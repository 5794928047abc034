"""Computed tomography: a slice from its shadows, by parallel beams (the Radon transform)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.training.recipes import target_of
from onefield.training.tasks.task import Problem, SignalLike, Task, only_images, signal_from, truth_for
from onefield.training.variation import field_variation

# Weight of the total variation, relative to the mean squared error in half ranges of the slice: what few angles leave
# open is chosen smooth.
_VARIATION = 2e-3
# A guide for ranges needs no more than this from the middle of its values.
_TAILS = 0.005


def projections(
    field: Field,
    angles: Float[Tensor, "n"],
    offsets: Float[Tensor, "n"],
    samples: int,
    generator: torch.Generator | None = None,
    center: tuple[float, float] | None = None,
) -> Float[Tensor, "n c"]:
    """Integrals of a field's values along lines through the disc in its square domain; differentiable.

    A line of angle a and offset s holds the points ``centre + s (cos a, -sin a) + t (sin a, cos a)``, x to the right
    and y down: scikit-image's `radon` turns pictures the same way. What lies outside the disc counts as nothing.

    Args:
        field: on a square domain, provides ``value``.
        angles: radians.
        offsets: of the lines from the middle, world units.
        samples: midpoints along each line, evenly over its chord.
        generator: moves them all at random within their intervals, anew for each line; None leaves them in the middle.
        center: about which angles turn; None takes the domain's.

    Returns:
        Value times world length; 0 for lines that miss the disc.
    """
    radius = field.domain.extent[0] / 2
    half = (radius**2 - offsets.square()).clamp(min=0).sqrt()
    shift = offsets.new_full((len(offsets), 1), 0.5)
    if generator is not None:
        shift = torch.rand(len(offsets), 1, generator=generator)
    along = ((torch.arange(samples) + shift) / samples * 2 - 1) * half[:, None]
    cosine, sine = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    x = offsets[:, None] * cosine + along * sine
    y = -offsets[:, None] * sine + along * cosine
    places = torch.stack([x, y], dim=-1) + offsets.new_tensor(field.domain.center if center is None else center)
    return field.query(places, want=("value",)).value.mean(1) * (2 * half)[:, None]


def detectors(count: int) -> tuple[Float[Tensor, "_"], tuple[float, float]]:
    """Offsets of a row of detectors as wide as a slice of side 1, and the point about which they turn.

    That is the middle of pixel ``count // 2``, as in scikit-image: half a pixel off the slice's for even counts.
    """
    middle = (count // 2 + 0.5) / count
    return (torch.arange(count) - count // 2) / count, (middle, middle)


class Shadows:
    """Batches of a sinogram's rays, and of places for the variation."""

    def __init__(self, sinogram: Signal, angles: Float[Tensor, "n"], guide: Signal, generator: torch.Generator) -> None:
        self._values = sinogram.values[..., 0]
        self._known = torch.nonzero(torch.isfinite(self._values.flatten())).flatten()
        self._angles, self._guide, self._generator = angles, guide, generator
        self._count = sinogram.shape[1]
        self._offsets, self._center = detectors(self._count)
        self._scale = target_of(guide).scale
        self._all = guide.known()
        away = guide.points(self._all) - torch.tensor(self._center)
        self._outside = self._all[away.norm(dim=1) > 0.5]

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared error of means along rays, relative to the slice's range; ``batch`` counts places."""
        rays = min(max(1, batch // self._count), len(self._known))
        picked = self._known[torch.randint(len(self._known), (rays,), generator=self._generator)]
        view, pixel = picked // self._count, picked % self._count
        lines = self._angles[view], self._offsets[pixel]
        found = projections(field, *lines, self._count, self._generator, self._center)[:, 0]
        # a sinogram counts in pixels, the field's square has a side of 1
        error = (found - self._values[view, pixel] / self._count) / self._scale
        variation = field_variation(field, self._guide, self._all, self._scale, self._generator, max(1, batch // 4))
        return error.square().mean() + self._stray(field, max(1, batch // 4)) + _VARIATION * variation

    def _stray(self, field: Field, most: int) -> Float[Tensor, ""]:
        """Mean square of values outside the disc, where no ray goes and nothing is."""
        picked = self._outside[torch.randint(len(self._outside), (most,), generator=self._generator)]
        return (field.query(self._guide.points(picked), want=("value",)).value / self._scale).square().mean()


@dataclass(frozen=True)
class Tomography(Task):
    """The slice behind a sinogram, as of few views.

    The signal is the sinogram: a row an angle and a column a detector, which are as wide as the slice's pixels. It
    holds integrals of values in pixels' widths, as `skimage.transform.radon` on pictures that are empty outside the
    disc in their square; its rows are that function's columns.

    Attributes:
        angles: a file or an array of one angle a row, degrees; None spreads them evenly over half a turn, from 0 on.
        truth: the slice, to score the answer.
    """

    angles: SignalLike | None = None
    truth: SignalLike | None = None
    name = "tomography"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for a sinogram.

        Raises:
            UsageError: no image.
            DataError: several channels, too few detectors, or angles of another number than rows.
        """
        only_images(signal, self.name)
        views, count = signal.shape
        if signal.channels != 1 or count < 2:
            raise DataError(
                f"A sinogram has a row an angle, two detectors or more and one channel, but this is "
                f"{signal.description}."
            )
        degrees = _degrees(self.angles, views)
        baseline = filtered_back_projection(signal, degrees)
        guide = Signal("image", _without_tails(baseline), signal.value_range)
        evidence = Shadows(signal, torch.deg2rad(degrees), guide, generator)
        truth = truth_for(self.truth, (count, count), 1)
        peak = signal_from(self.truth).value_range if self.truth is not None else signal.value_range
        return Problem(guide, (count, count), evidence, baseline, truth, peak, places=views * count * count)


def _degrees(angles: SignalLike | None, views: int) -> Float[Tensor, "_"]:
    if angles is None:
        return torch.arange(views) * (180.0 / views)
    numbers = signal_from(angles).values.flatten()
    if len(numbers) != views or not bool(torch.isfinite(numbers).all()):
        raise DataError(f"The sinogram has {views} rows, but {len(numbers)} angles are given; give a finite one a row.")
    return numbers


def filtered_back_projection(sinogram: Signal, degrees: Float[Tensor, "n"]) -> Float[Tensor, "side side 1"]:
    """The classical answer (ramp filter), which many views suffice for; unknown rays count as empty."""
    from skimage.transform import iradon

    rows = torch.nan_to_num(sinogram.values[..., 0]).double().numpy()
    found = iradon(np.ascontiguousarray(rows.T), theta=degrees.double().numpy(), circle=True)
    return torch.from_numpy(found).float()[..., None]


def _without_tails(values: Tensor) -> Tensor:
    low, high = np.quantile(values.numpy(), (_TAILS, 1 - _TAILS))
    return values.clamp(float(low), float(high))


def sinogram_of(field: Field, degrees: Float[Tensor, "n"], count: int) -> Float[Tensor, "n m"]:
    """What detectors would see of a field of one value on the unit square: the signal of `Tomography`.

    Args:
        count: detectors in a row, and samples along each ray.
    """
    offsets, center = detectors(count)
    angles = torch.deg2rad(degrees).repeat_interleave(count)
    found = projections(field, angles, offsets.repeat(len(degrees)), count, center=center)[:, 0]
    return found.reshape(len(degrees), count) * count
