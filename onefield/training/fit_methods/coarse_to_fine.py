"""Fitting coarse levels of an encoding before fine ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.encodings.levelled import LevelledEncoding
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.level_growth import LevelGrowth
from onefield.training.recipes import Target


@dataclass(frozen=True)
class CoarseToFine(FitMethod):
    """Levels of an encoding (frequencies, or resolutions of grids) come by and by; see `LevelGrowth`.

    Attributes:
        first: share of the levels at the start; one at least.
        end: share of the fit at which all are in use.
    """

    name: ClassVar[str] = "coarse-to-fine"
    first: float = 0.25
    end: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.first <= 1 and 0 < self.end <= 1):
            raise UsageError(
                f"CoarseToFine needs shares, 'first' from 0 to 1 and 'end' above 0, got {self.first} and {self.end}."
            )

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Masks the fine levels.

        Raises:
            UsageError: the field has no levels.
        """
        del signal, target, generator
        encodings = [module for module in field.modules() if isinstance(module, LevelledEncoding)]
        several = [encoding for encoding in encodings if encoding.level_count > 1]
        if not several:
            raise UsageError(
                f"The method '{self.name}' needs an encoding with levels, which this field lacks; take 'fourier', "
                "'hash' or 'k-planes', or leave it out."
            )
        growths = [
            LevelGrowth(encoding, max(1, round(self.first * encoding.level_count)), self.end, gradual=True)
            for encoding in several
        ]
        return FitParts(tuple(_advance(growth) for growth in growths))


def _advance(growth: LevelGrowth):
    return lambda _field, share: growth.advance(share)
