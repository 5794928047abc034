"""First weights from which a few steps fit any of a set of signals: Reptile and MAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DivergedError, UsageError, nearest_name
from onefield.fields.field import Field
from onefield.kernels import use
from onefield.training.field_function import Weights, field_function, weights_of
from onefield.training.fit_methods.learned_start import LearnedStart
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.recipes import Recipe, Target, initial_field, recipe_for, target_of
from onefield.training.seeds import cpu_generator

RULES = ("reptile", "maml")
_REPORTS = 20
# Adam's as in its paper; tables of features want others.
_BETA2, _EPSILON = 0.999, 1e-8  # keeps the quotient finite where a gradient is 0


@dataclass(frozen=True)
class Lessons:
    """How a start is learned.

    Attributes:
        rule: ``"reptile"`` (Nichol et al. 2018) moves the start towards where the steps on a signal lead; ``"maml"``
            (Finn et al. 2017; Tancik et al., "Learned Initializations", 2021) descends the loss after the
            steps, through them.
        steps: outer ones; one signal each, all in turn.
        inner_steps: of plain gradient descent on a signal.
        inner_rate: of these.
        outer_rate: Reptile's share of the way, falling to 0; the rate of Adam for MAML. None takes 0.3, or 1e-4.
        batch: most samples of a step.
    """

    rule: str = "reptile"
    steps: int = 300
    inner_steps: int = 10
    inner_rate: float = 1e-2
    outer_rate: float | None = None
    batch: int = 2**12

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UsageError(f"Unknown rule '{self.rule}': {nearest_name(self.rule, RULES)}.")
        for name in ("steps", "inner_steps", "inner_rate", "batch"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"Lessons need positive {name}, got {getattr(self, name)}.")


class Task:
    """One signal to learn from: its samples in the field's domain and in the network's range."""

    def __init__(self, signal: Signal, field: Field) -> None:
        known = signal.known()
        target = target_of(signal)
        self.points = field.domain.from_unit(signal.domain.to_unit(signal.points(known)))
        self.truth = (signal.at(known) - target.offset) / target.scale

    def batches(self, count: int, size: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """So many batches of points and their values; all samples where there are no more than a batch."""
        if len(self.points) <= size:
            return [(self.points, self.truth)] * count
        picks = [torch.randint(len(self.points), (size,), generator=generator) for _ in range(count)]
        return [(self.points[pick], self.truth[pick]) for pick in picks]


def loss_of(function: Callable[[Weights, Tensor], Tensor], weights: Weights, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean square of the errors."""
    points, truth = batch
    return (function(weights, points) - truth).square().mean()


def descend(
    function: Callable[[Weights, Tensor], Tensor],
    weights: Weights,
    batches: Sequence[tuple[Tensor, Tensor]],
    rate: float,
    through: bool = False,
) -> Weights:
    """The weights after a step of gradient descent on each batch.

    Args:
        through: whether the result is to be differentiated by the first weights, which then need a gradient.
    """
    for batch in batches:
        leaves = weights if through else {name: w.detach().requires_grad_() for name, w in weights.items()}
        # what does not bear on a batch stays as it is
        slopes = torch.autograd.grad(
            loss_of(function, leaves, batch), list(leaves.values()), create_graph=through, materialize_grads=True
        )
        weights = {name: leaf - rate * slope for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)}
    return weights if through else {name: w.detach() for name, w in weights.items()}


def learn_start(
    signals: Sequence[Signal],
    field: str | Recipe = "siren",
    lessons: Lessons | None = None,
    *,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> LearnedStart:
    """Learns where fits of signals like these should begin; for ``fit(..., methods=[start])``.

    Values are taken relative to each signal's own range, and coordinates relative to its box.

    Args:
        signals: of one number of axes and channels.
        field: a representation, built as for the first signal, or a recipe of one's own.
        seed: of first weights and batches.
        observe: is told, some twenty times, how far it is.

    Raises:
        UsageError: no signals, or signals that differ in axes or channels.
        DivergedError: the start has infinite weights; the inner rate is too high.
    """
    lessons = lessons or Lessons()
    if len({(len(signal.shape), signal.channels) for signal in signals}) != 1:
        raise UsageError("A start is learned from one signal or more, all of the same axes and channels.")
    recipe = recipe_for(field, signals[0]) if isinstance(field, str) else field
    trained = initial_field(recipe, Target("value", signals[0].domain, signals[0].channels, 0.0, 1.0), seed)
    generator = cpu_generator(seed)
    tasks = [Task(signal, trained) for signal in signals]
    learn = _reptile if lessons.rule == "reptile" else _maml
    weights = learn(trained, tasks, lessons, generator, observe or (lambda said: None))
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise DivergedError(f"The start lost all finite weights; take an inner rate below {lessons.inner_rate:g}.")
    return LearnedStart(recipe, weights, len(signals))


def _reptile(
    field: Field, tasks: list[Task], lessons: Lessons, generator: torch.Generator, observe: Callable[[str], None]
) -> Weights:
    function, weights = field_function(field), weights_of(field)
    share = 0.3 if lessons.outer_rate is None else lessons.outer_rate
    for step in range(lessons.steps):
        batches = _turn(tasks, step).batches(lessons.inner_steps, lessons.batch, generator)
        reached = descend(function, weights, batches, lessons.inner_rate)
        near = share * (1 - step / lessons.steps)
        weights = {name: weight + near * (reached[name] - weight) for name, weight in weights.items()}
        _report(observe, step, lessons.steps, loss_of(function, reached, batches[-1]))
    return weights


def _maml(
    field: Field, tasks: list[Task], lessons: Lessons, generator: torch.Generator, observe: Callable[[str], None]
) -> Weights:
    function = field_function(field)
    parameters = {name: p for name, p in field.named_parameters() if p.requires_grad}
    rate = 1e-4 if lessons.outer_rate is None else lessons.outer_rate
    optimizer = Adam(
        parameters,
        dict.fromkeys(parameters, "all"),
        {"all": GroupRate(rate)},
        beta2=_BETA2,
        epsilon=_EPSILON,
    )
    for step in range(lessons.steps):
        *inner, outer = _turn(tasks, step).batches(lessons.inner_steps + 1, lessons.batch, generator)
        optimizer.zero_gradients()
        # through gradients of gradients, which the plain formulas have wherever they exist
        with use("reference"):
            reached = descend(function, dict(parameters), inner, lessons.inner_rate, through=True)
            loss = loss_of(function, reached, outer)
            loss.backward()
        optimizer.step(1.0)
        _report(observe, step, lessons.steps, loss)
    return weights_of(field)


def _turn(tasks: list[Task], step: int) -> Task:
    return tasks[step % len(tasks)]


def _report(observe: Callable[[str], None], step: int, steps: int, loss: Tensor) -> None:
    if step % max(1, steps // _REPORTS) == 0:
        observe(f"{step / steps:4.0%}  step {step}  loss after the inner steps {loss.item():.3g}")
