"""The steps of a fit: how many there may be, and the loop that takes them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from onefield.errors import DivergedError, UsageError
from onefield.fields.field import Field
from onefield.training.fit_methods import FitParts
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.recipes import Recipe
from onefield.training.tasks.task import Evidence

# So many steps in a row without a finite loss and gradient mean that rates are too high for the signal.
_MOST_BROKEN_STEPS = 10
_REPORTS = 20
_WARMUP_STEPS = 20


@dataclass(frozen=True)
class FitBudget:
    """What a fit may take.

    Attributes:
        steps: how many; None takes the recipe's.
        seconds: limit of training time instead, counted from the end of the first step.
        observe: is told, some twenty times, how far the fit is.
    """

    steps: int | None = None
    seconds: float | None = None
    observe: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        for name, budget in (("steps", self.steps), ("seconds", self.seconds)):
            if budget is not None and not (isinstance(budget, Real) and math.isfinite(budget) and budget > 0):
                raise UsageError(f"fit needs a positive number of {name}, got {budget!r}.")

    def steps_of(self, recipe: Recipe) -> int:
        """Steps after which learning rates have fallen, where no time limits them."""
        return recipe.steps if self.steps is None else int(self.steps)


def train(field: Field, source: Evidence, recipe: Recipe, budget: FitBudget, parts: FitParts) -> dict[str, float]:
    """Trains a field in place by what a source says of it.

    Returns:
        ``steps`` that were taken and ``seconds`` of training.

    Raises:
        DivergedError: loss or gradients were not finite ten times in a row.
    """
    optimizer = _optimizer(field, recipe)
    last, seconds = budget.steps_of(recipe), budget.seconds
    began = started = time.perf_counter()
    broken = step = 0
    reported = 0.0
    while True:
        share = step / last if seconds is None else (time.perf_counter() - started) / seconds
        at_end = share >= 1 and step > 0
        for advance in parts.advance:
            advance(field, min(share, 1.0))
        if at_end:
            return {"steps": float(step), "seconds": time.perf_counter() - began}
        optimizer.zero_gradients()
        loss = source.loss(field, recipe.batch)
        loss.backward()
        if _finite(loss, optimizer):
            warm = min(1.0, (step + 1) / _WARMUP_STEPS)
            fall = recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * min(share, 1))) / 2
            optimizer.step(warm * fall)
            broken = 0
        else:
            broken += 1
            if broken >= _MOST_BROKEN_STEPS:
                raise DivergedError(
                    f"The fit lost all finite values at step {step}; use another field than '{recipe.field}'."
                )
        step += 1
        if step == 1:
            started = time.perf_counter()
        if budget.observe is not None and share >= reported:
            reported += 1 / _REPORTS
            budget.observe(f"{min(share, 1):4.0%}  step {step}  loss {loss.item():.3g}")


def _finite(loss: Tensor, optimizer: Adam) -> bool:
    gradients = [p.grad for p in optimizer.parameters.values() if p.grad is not None]
    # a sum is finite only if no summand is NaN or infinite; large but finite ones don't occur near float32's limit
    return bool(torch.isfinite(loss.detach() + sum(g.sum() for g in gradients)))


def _optimizer(field: Field, recipe: Recipe) -> Adam:
    names = {id(parameter): name for name, parameter in field.named_parameters()}
    rates = {"encoding": GroupRate(recipe.encoding_rate, skip_zeros=True)}
    groups = {names[id(p)]: group for group, members in field.parameter_groups().items() for p in members}
    for group in set(groups.values()) - {"encoding"}:
        rates[group] = GroupRate(recipe.network_rate)
    parameters = {name: p for name, p in field.named_parameters() if name in groups}
    return Adam(parameters, groups, rates)
