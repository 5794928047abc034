"""Fits that begin where a set of like signals taught to begin."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.recipes import Recipe, Target
from onefield.training.tensor_file import TensorFile

LEARNED_START_FILE = TensorFile("onefield_start", 1, "start", "learn one by 'onefield learn FOLDER'")


@dataclass(frozen=True)
class LearnedStart(FitMethod):
    """First weights that were learned, as by `onefield.training.meta_learning.learn_start`.

    Attributes:
        recipe: how the field is built; its rates are not looked at.
        weights: its parameters, by name.
        signals: how many taught it.
    """

    name: ClassVar[str] = "start"
    recipe: Recipe
    weights: dict[str, Tensor]
    signals: int

    def adapt(self, recipe: Recipe, signal: Signal | Shape | Points, target: Target, seed: int) -> Recipe:
        """The recipe of the learned field, at the rates for this signal.

        Raises:
            UsageError: another representation was asked for, or the signal has no samples.
        """
        self.samples_of(signal)
        if recipe.field != self.recipe.field:
            raise UsageError(
                f"The start was learned for the field '{self.recipe.field}', not for '{recipe.field}'; take "
                f"'{self.recipe.field}'."
            )
        return replace(recipe, options=dict(self.recipe.options))

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Puts the weights into the field.

        Raises:
            UsageError: a signal of other axes or channels.
        """
        del target, generator
        own = dict(field.named_parameters())
        if {name: p.shape for name, p in own.items()} != {name: w.shape for name, w in self.weights.items()}:
            raise UsageError(
                f"The start was learned from signals of other axes or channels than this {signal.kind}; learn one from "
                "signals like it."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(self.weights[name])
        return FitParts()

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file that `load_start` opens.

        Raises:
            ResourceError: the file can't be written.
        """
        LEARNED_START_FILE.write(path, {"recipe": asdict(self.recipe), "signals": self.signals}, self.weights)


def load_start(path: str | Path) -> LearnedStart:
    """Opens what `LearnedStart.save` wrote.

    Raises:
        DataError: missing, damaged, or no start.
    """
    with LEARNED_START_FILE.opened(path) as (facts, weights):
        return LearnedStart(Recipe(**facts["recipe"]), weights, int(facts["signals"]))
