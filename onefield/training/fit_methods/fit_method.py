"""The interface of every way of fitting that any representation can take."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.recipes import Recipe, Target


@dataclass(frozen=True)
class SampleBatch:
    """Samples of a signal in one step.

    Attributes:
        points: where, coordinates of the signal.
        answer: the field's, with its gradient.
        truth: of the signal.
        scale: that errors are relative to.
        value_range: greatest less smallest possible value of the signal.
    """

    points: Float[Tensor, "n d"]
    answer: Float[Tensor, "n c"]
    truth: Float[Tensor, "n c"]
    scale: float
    value_range: float


Pick = Callable[[Field, int], Int[Tensor, "n"]]
"""Flat indices of the samples of a step, of a signal of which so many may be asked."""
Error = Callable[[Field, SampleBatch], Float[Tensor, ""]]
"""What a step makes small."""
Ask = Callable[[Field, Float[Tensor, "n d"], Float[Tensor, "n c"]], Float[Tensor, "n c"]]
"""What a field answers in training at points, by their truth, where that is not its query."""
Advance = Callable[[Field, float], None]
"""Told before each step which share of the fit is done, and 1 at its end."""


def squared_error(field: Field, batch: SampleBatch) -> Float[Tensor, ""]:
    """Mean square of the errors, relative to the scale."""
    del field
    return ((batch.answer - batch.truth) / batch.scale).square().mean()


@dataclass(frozen=True)
class FitParts:
    """What a method puts into one fit, or what several do together.

    Attributes:
        advance: acts before each step, in this order.
        pick: which samples a step looks at; None takes each once an epoch.
        error: in the place of `squared_error`.
        extra: added to the error.
        ask: how a step asks the field, in the place of a query.
    """

    advance: tuple[Advance, ...] = ()
    pick: Pick | None = None
    error: Error | None = None
    extra: tuple[Error, ...] = ()
    ask: Ask | None = None

    @property
    def on_samples(self) -> bool:
        """Whether anything here works on the samples of a step."""
        return any(each is not None for each in (self.pick, self.error, self.ask)) or bool(self.extra)


class FitMethod(ABC):
    """A way of fitting: settings alone, so that one object serves any number of fits.

    Attributes:
        name: for ``fit(methods=...)``.
    """

    name: ClassVar[str]

    def adapt(self, recipe: Recipe, signal: Signal | Shape | Points, target: Target, seed: int) -> Recipe:
        """The recipe by which the field is built, from the representation's own."""
        del signal, target, seed
        return recipe

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Prepares an untrained field, and what acts in the course of the fit."""
        del field, signal, target, generator
        return FitParts()

    def samples_of(self, signal: Signal | Shape | Points) -> Signal:
        """The signal, for methods that need its samples.

        Raises:
            UsageError: a kind that has none.
        """
        if not isinstance(signal, Signal):
            raise UsageError(
                f"The method '{self.name}' works on samples of sounds, images, videos and volumes, not on a "
                f"{signal.kind}; leave it out."
            )
        return signal


def joined(methods: Sequence[FitMethod], parts: Sequence[FitParts]) -> FitParts:
    """The parts of several methods as those of one.

    Raises:
        UsageError: two of them decide the same thing.
    """
    decided = (
        ("pick", "choose the samples of a step"),
        ("error", "say what is made small"),
        ("ask", "say how the field is asked"),
    )
    for part, does in decided:
        deciding = [method.name for method, each in zip(methods, parts, strict=True) if getattr(each, part) is not None]
        if len(deciding) > 1:
            raise UsageError(f"The methods '{deciding[0]}' and '{deciding[1]}' both {does}; leave one out.")
    return FitParts(
        tuple(advance for each in parts for advance in each.advance),
        next((each.pick for each in parts if each.pick is not None), None),
        next((each.error for each in parts if each.error is not None), None),
        tuple(extra for each in parts for extra in each.extra),
        next((each.ask for each in parts if each.ask is not None), None),
    )
