"""Iterative refinement: a field learns to see the signal in blends of it with noise, and answers in several steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.iterative import IterativeField, blended
from onefield.training.conditioning import refuse_posterior
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.recipes import Recipe, Target
from onefield.training.recipes.iterative import REFINEMENT_STEPS


@dataclass(frozen=True)
class IterativeRefinement(FitMethod):
    """ "I-INR: Iterative Implicit Neural Representations" (arXiv 2504.17364, 2025), around any representation.

    Training shows the field ``g_t = (1 - t) I + t Z`` at each sample, t uniform in (0, 1] and Z normal with the
    deviation of half the signal's range, and asks for I. The fitted field starts at Z's mean, so that it is a function
    of the point alone, and refines its answer; see `IterativeField`.

    Attributes:
        steps: of refinement.
    """

    name: ClassVar[str] = "iterative"
    steps: int = 3

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"IterativeRefinement needs 1 step or more, got {self.steps}.")

    def adapt(self, recipe: Recipe, signal: Signal | Shape | Points, target: Target, seed: int) -> Recipe:
        """The recipe with its field as a backbone.

        Raises:
            UsageError: a signal without samples.
        """
        del target, seed
        self.samples_of(signal)
        return replace(recipe, options=recipe.options | {REFINEMENT_STEPS: float(self.steps)})

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """The blends of one fit.

        Raises:
            UsageError: a backbone with a posterior, which is given values and not blends.
        """
        del signal, target
        if isinstance(field, IterativeField):
            refuse_posterior(field.backbone, f"The method '{self.name}'")

        def ask(asked: Field, points: Float[Tensor, "n d"], truth: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
            return estimate_from_blend(asked, points, truth, generator)

        return FitParts(ask=ask)


def estimate_from_blend(
    field: IterativeField, points: Float[Tensor, "n d"], truth: Float[Tensor, "n c"], generator: torch.Generator
) -> Float[Tensor, "n c"]:
    """What a field makes of blends of the truth with noise, at random times; in the signal's unit."""
    # rand is below 1, and a blend at time 0 would be the truth itself
    times = 1 - torch.rand(len(points), generator=generator).to(points)
    noise = torch.randn(truth.shape, generator=generator).to(points)
    signal = (truth - field.head.offset) / field.head.scale
    return field.head(field.estimate(points, blended(signal, noise, times), times))
