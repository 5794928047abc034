"""Nonparametric teaching: each step looks at the samples that the field gets most wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.recipes import Recipe, Target

SCHEDULES = ("constant", "linear", "step", "cosine")
INTERVALS = ("dense", "incremental")
# Stages of the schedule by steps, each a tenth of the way to all samples, which are taught at the very end alone.
_STAGES = 10
# The incremental intervals: each step for the first share, then longer in equal parts of the rest, as shares of the
# fit: 10 to 50 of the 5,000 steps of the paper, which in a shorter fit would leave the rest alone for too long.
_DENSE_SHARE, _INTERVALS = 0.25, (0.002, 0.004, 0.006, 0.008, 0.01)
# Far above float64's rounding of a progress by a pause, far below a step of any fit.
_ROUNDING = 1e-9
# Samples asked of a field at once without gradient.
_CHUNK = 2**16


@dataclass(frozen=True)
class Teaching(FitMethod):
    """Greedy functional teaching (Zhang et al., "Nonparametric Teaching of Implicit Neural Representations", 2024).

    Of the samples of a batch (all of a signal that is no larger), the share with the largest sum of absolute errors
    over the channels is taught, algorithm 1 of the paper. Larger signals draw other candidates at each selection. The
    learning rate stays where it is, as in the authors' configuration: what is taught last would be learned at next to
    none.

    Attributes:
        ratio: share that is taught at the start, in (0, 1].
        schedule: of the share: ``"constant"``; ``"linear"``, ``"step"`` (ten stages, the last 9/10 of the way) or
            ``"cosine"`` up to all.
        interval: how often samples are selected anew: ``"dense"``, in each step, or ``"incremental"``, in each step
            for a quarter of the fit and then after 0.2 to 1 percent of it.
    """

    name: ClassVar[str] = "teaching"
    ratio: float = 0.2
    schedule: str = "step"
    interval: str = "incremental"

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise UsageError(f"Teaching needs a ratio above 0 and up to 1, got {self.ratio}.")
        for value, known in ((self.schedule, SCHEDULES), (self.interval, INTERVALS)):
            if value not in known:
                raise UsageError(f"Teaching knows no '{value}': {nearest_name(value, known)}.")

    def share(self, progress: float) -> float:
        """Which share of the candidates is taught when ``progress`` of the fit is done."""
        rise = {
            "constant": 0.0,
            "linear": progress,
            "step": int(_STAGES * progress) / _STAGES,
            "cosine": (1 - math.cos(math.pi * progress)) / 2,
        }[self.schedule]
        return self.ratio + (1 - self.ratio) * rise

    def pause(self, progress: float) -> float:
        """Share of the fit from one selection to the next; 0 selects in each step."""
        if self.interval == "dense" or progress < _DENSE_SHARE:
            return 0.0
        part = (progress - _DENSE_SHARE) / (1 - _DENSE_SHARE)
        return _INTERVALS[min(len(_INTERVALS) - 1, int(len(_INTERVALS) * part + _ROUNDING))]

    def adapt(self, recipe: Recipe, signal: Signal | Shape | Points, target: Target, seed: int) -> Recipe:
        """The recipe at a constant rate."""
        del signal, target, seed
        return replace(recipe, final_rate=1.0)

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """The lesson of one fit.

        Raises:
            UsageError: a signal without samples.
        """
        del field, target
        lesson = _Lesson(self, self.samples_of(signal), generator)
        return FitParts(advance=(lesson.advance,), pick=lesson.pick)


@torch.no_grad()
def hardest_samples(field: Field, signal: Signal, candidates: Int[Tensor, "n"], count: int) -> Int[Tensor, "k"]:
    """The ``count`` candidates (flat indices) with the largest sum of absolute errors over the channels, in order."""
    errors = []
    for part in candidates.split(_CHUNK):
        answer = field.query(signal.points(part), want=("value",)).value
        errors.append((answer - signal.at(part)).abs().sum(-1))
    hardest = torch.topk(torch.cat(errors), count, sorted=False).indices
    # sorted indices walk through tables of features in order
    return candidates[hardest].sort().values


class _Lesson:
    """What is being taught, from selection to selection."""

    def __init__(self, teaching: Teaching, signal: Signal, generator: torch.Generator) -> None:
        self._teaching = teaching
        self._signal = signal
        self._known = signal.known()
        self._generator = generator
        self._progress = 0.0
        self._selected_at = 0.0
        self._taught = torch.empty(0, dtype=torch.long)

    def advance(self, field: Field, progress: float) -> None:
        del field
        self._progress = min(1.0, progress)

    def pick(self, field: Field, batch: int) -> Int[Tensor, "n"]:
        if len(self._taught) == 0 or self._due():
            self._taught = self._selected(field, batch)
            self._selected_at = self._progress
        return self._taught

    def _due(self) -> bool:
        """Whether a multiple of the pause has passed since the last selection."""
        pause = self._teaching.pause(self._progress)
        if pause == 0:
            return True
        # a share of so many steps may be rounded to just below a multiple
        now, then = (math.floor(progress / pause + _ROUNDING) for progress in (self._progress, self._selected_at))
        return now > then

    def _selected(self, field: Field, batch: int) -> Int[Tensor, "n"]:
        candidates = self._known
        if batch < len(candidates):
            candidates = candidates[torch.randperm(len(candidates), generator=self._generator)[:batch]]
        count = max(1, int(self._teaching.share(self._progress) * len(candidates)))
        if count == len(candidates):
            return candidates.sort().values
        return hardest_samples(field, self._signal, candidates, count)
