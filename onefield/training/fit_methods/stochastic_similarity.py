"""S3IM beside the squared error of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.field import Field
from onefield.losses.stochastic_similarity import REPEATS, stochastic_dissimilarity
from onefield.training.fit_methods.fit_method import FitMethod, FitParts, SampleBatch
from onefield.training.recipes import Target


@dataclass(frozen=True)
class StochasticSimilarity(FitMethod):
    """Adds `stochastic_dissimilarity` of each batch to its error (Xie et al. 2023).

    Attributes:
        weight: beside the mean square of errors relative to half the signal's spread.
        repeats: how often a batch is shuffled.
    """

    name: ClassVar[str] = "s3im"
    weight: float = 0.1
    repeats: int = REPEATS

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """The loss of one fit.

        Raises:
            UsageError: no samples, or too few.
        """
        del field, target
        self.samples_of(signal)

        def extra(_field: Field, batch: SampleBatch) -> Tensor:
            lost = stochastic_dissimilarity(batch.answer, batch.truth, generator, batch.value_range, self.repeats)
            return self.weight * lost

        return FitParts(extra=(extra,))
