"""Frequency shifting: the band of a field is chosen by the spectrum of its target, before it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod
from onefield.training.recipes import Recipe, Target, band_option, initial_field

# Of the recipe's own frequency: with the 30 radians of a sine network they are the published 10, 20, ..., 200.
MULTIPLES = tuple(count / 3 for count in range(1, 21))
# A spectrum is cut here, in turns across the domain, as published for images (32, 64 and 128 are compared there).
_CUTOFF = 64
# Places at which an untrained field is asked: 128 along each side of an image, two for the shortest wave that counts.
_PLACES = 2**14


@dataclass(frozen=True)
class FrequencyShift(FitMethod):
    """FreSh (Kania et al., "FreSh: Frequency Shifting for Accelerated Neural Representation Learning", ICLR 2025).

    Of some multiples of a recipe's frequency the one is taken whose untrained fields have the spectrum nearest to the
    signal's, by the mean Wasserstein-1 distance over some fields with different first weights (section 3).

    Attributes:
        multiples: of the recipe's frequency, that are tried.
        draws: untrained fields for each; the paper has ten.
    """

    name: ClassVar[str] = "fresh"
    multiples: Sequence[float] = MULTIPLES
    draws: int = 5

    def __post_init__(self) -> None:
        if not self.multiples or min(self.multiples) <= 0 or self.draws < 1:
            raise UsageError(
                f"FrequencyShift needs multiples above 0 and a draw for each, got {tuple(self.multiples)} and "
                f"{self.draws} draws."
            )

    def adapt(self, recipe: Recipe, signal: Signal | Shape | Points, target: Target, seed: int) -> Recipe:
        """The recipe at the chosen frequency.

        Raises:
            UsageError: a signal without samples, or a representation without a frequency.
        """
        samples = self.samples_of(signal)
        if band_option(recipe.field) is None:
            raise UsageError(
                f"The method '{self.name}' chooses a frequency, and '{recipe.field}' has none; take another field, "
                "such as 'siren' or 'fourier', or leave it out."
            )
        candidates = [_at_frequency(recipe, multiple) for multiple in self.multiples]
        values = samples.at(samples.known())
        if torch.equal(values.amin(0), values.amax(0)):
            return replace(recipe)  # a constant has no spectrum
        distances = spectral_distances(candidates, samples, target, range(seed, seed + self.draws))
        return candidates[min(range(len(candidates)), key=distances.__getitem__)]


def _at_frequency(recipe: Recipe, multiple: float) -> Recipe:
    option = band_option(recipe.field)
    return replace(recipe, options=recipe.options | {option: multiple * recipe.options[option]})


def spectral_distances(recipes: Sequence[Recipe], signal: Signal, target: Target, seeds: Sequence[int]) -> list[float]:
    """How far the spectra of untrained fields are from the signal's: the mean over seeds for each recipe."""
    sides = tuple(reversed(_sides(signal.shape)))
    cutoff = min(_CUTOFF, max(sides) // 2) if len(sides) > 1 else max(1, max(sides) // 2)
    truth = signal.values.permute(*reversed(range(len(sides))), len(sides))
    known = torch.isfinite(truth)
    truth = torch.where(known, truth, truth[known].mean())
    wanted = spectrum(truth, sides, cutoff)
    found = []
    for recipe in recipes:
        distances = [
            spectral_distance(spectrum(_sampled(initial_field(recipe, target, seed), sides), sides, cutoff), wanted)
            for seed in seeds
        ]
        found.append(sum(distances) / len(distances))
    return found


def spectrum(values: Float[Tensor, "*axes c"], sides: Sequence[int], cutoff: int) -> Float[Tensor, "cutoff"]:
    """The share of 1, 2, ... turns across the domain in a signal's Fourier magnitudes.

    Turns are added over the axes, magnitudes over channels and over all frequencies with the same sum; the constant is
    left out.

    Args:
        sides: of the grid whose frequencies are looked at; no longer than the axes.
        cutoff: most turns.
    """
    axes = tuple(range(values.ndim - 1))
    magnitudes = torch.fft.fftn(values.double(), dim=axes).abs().sum(-1)
    turns = torch.zeros_like(magnitudes)
    seen = torch.ones_like(magnitudes, dtype=torch.bool)
    for axis, (count, side) in enumerate(zip(magnitudes.shape, sides, strict=True)):
        along = (torch.fft.fftfreq(count, dtype=torch.float64) * count).round().abs()
        along = along.reshape([-1 if each == axis else 1 for each in axes])
        turns = turns + along
        # of an even grid's highest frequency, two waves can't be told apart
        seen = seen & (along <= (side - 1) // 2)
    amounts = torch.bincount(turns[seen].long(), magnitudes[seen], minlength=cutoff + 1)[1 : cutoff + 1]
    return amounts / amounts.sum()


def spectral_distance(first: Float[Tensor, "n"], second: Float[Tensor, "n"]) -> float:
    """Wasserstein-1 distance of two distributions over 1, 2, ... turns."""
    return float((first.cumsum(0) - second.cumsum(0)).abs().sum())


def _sides(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, or where it has more places than are looked at, one whose longer sides are cut."""
    longest = max(shape)
    while math.prod(min(side, longest) for side in shape) > _PLACES:
        longest -= max(1, longest // 16)
    return tuple(min(side, longest) for side in shape)


@torch.no_grad()
def _sampled(field: Field, sides: Sequence[int]) -> Float[Tensor, "*sides c"]:
    """The field's values at the centres of so many cells along each side of its domain, x first."""
    columns = [
        low + extent * (torch.arange(side) + 0.5) / side
        for low, extent, side in zip(field.domain.minimum, field.domain.extent, sides, strict=True)
    ]
    return field.query_grid(columns, want=("value",)).value
