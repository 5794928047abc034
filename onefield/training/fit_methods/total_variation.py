"""Total variation beside the error: what decides between samples, and where there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod, FitParts, SampleBatch
from onefield.training.recipes import Target
from onefield.training.variation import field_variation

# Of a step's samples: each place takes a question more an axis.
_SHARE = 4


@dataclass(frozen=True)
class TotalVariation(FitMethod):
    """Adds the mean length of the field's differences between neighbouring samples' places (Rudin et al. 1992).

    It regularises grids as Kim and Fridovich-Keil ("Grids often outperform implicit neural representations", 2025) do,
    and any other field as well; unknown samples are filled in as smoothly as the known ones allow.

    Attributes:
        weight: of the variation, in half ranges of the signal, beside the mean square error in the same unit.
    """

    name: ClassVar[str] = "total-variation"
    weight: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise UsageError(f"TotalVariation needs a weight above 0, got {self.weight}.")

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """The summand.

        Raises:
            UsageError: a signal without samples.
        """
        del field
        samples = self.samples_of(signal)
        everywhere = torch.arange(math.prod(samples.shape))

        def variation(asked: Field, batch: SampleBatch) -> Tensor:
            most = max(1, len(batch.points) // _SHARE)
            return self.weight * field_variation(asked, samples, everywhere, target.scale, generator, most)

        return FitParts(extra=(variation,))
