"""What a task is: a signal that shows something else only in part, and how a field is held against it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Signal, load_signal, signal_of
from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.training.metrics import psnr, ssim

# SSIM's window.
_LEAST_SIDE = 11

# What a file or an array of a signal may be given as.
SignalLike = str | Path | np.ndarray | Tensor | Signal


class Evidence(Protocol):
    """What a field is trained against."""

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Of one step with about so many samples."""


def unchanged(field: Field) -> dict[str, float]:
    """Leaves a trained field as it is."""
    return {}


@dataclass(frozen=True)
class Problem:
    """A task with its data.

    Attributes:
        guide: samples by whose grid and range a field's recipe is chosen; its domain is the field's.
        shape: samples along the axes of the answer, on the same domain.
        evidence: what the field is trained against.
        baseline: what is known without a field, on the answer's grid, NaN where nothing is; None for nothing.
        truth: what the answer should be, where it is known.
        value_range: peak of PSNR.
        finish: may put a trained field back into an earlier state; answers facts about it.
        level: whether an answer is compared after both got the same mean, since the data say nothing of it.
        places: points of a step, at most; None takes as many as the guide has samples.
        counted: flat indices of the samples that figures are about; None counts all.
    """

    guide: Signal
    shape: tuple[int, ...]
    evidence: Evidence
    baseline: Float[Tensor, "*axes c"] | None
    truth: Float[Tensor, "*axes c"] | None
    value_range: float
    finish: Callable[[Field], dict[str, float]] = unchanged
    level: bool = False
    places: int | None = None
    counted: Tensor | None = None

    def score(self, answer: Float[Tensor, "*axes c"]) -> dict[str, float]:
        """``psnr`` and, for pictures, ``ssim`` of the answer, and the same of the baseline; nothing without a truth."""
        if self.truth is None:
            return {}
        figures = self._agreement(answer)
        if self.baseline is None:
            return figures
        return figures | {f"baseline_{name}": value for name, value in self._agreement(self.baseline).items()}

    def _agreement(self, answer: Tensor) -> dict[str, float]:
        channels = answer.shape[-1]
        known = torch.isfinite(self.truth).all(-1) & torch.isfinite(answer).all(-1)
        if self.level:
            answer = answer + (self.truth[known].mean(0) - answer[known].mean(0))
        counted = torch.arange(known.numel()) if self.counted is None else self.counted
        counted = counted[known.flatten()[counted]]
        if len(counted) == 0:
            return {}
        flat = answer.reshape(-1, channels)[counted], self.truth.reshape(-1, channels)[counted]
        figures = {"psnr": psnr(*flat, self.value_range)}
        if answer.ndim == 3 and min(answer.shape[:2]) >= _LEAST_SIDE and bool(known.all()) and self.counted is None:
            figures["ssim"] = ssim(answer, self.truth, self.value_range)
        return figures


class Task(ABC):
    """A question about a signal that is not all there.

    Subclasses are frozen records of what the task needs besides the signal; listing one in ``tasks/__init__.py`` makes
    it a name for ``fit(task=...)`` and ``onefield fit --task``.
    """

    name: str

    @abstractmethod
    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for a signal.

        Raises:
            UsageError: the task can't be asked of this kind of signal.
            DataError: what goes with the signal does not fit it.
        """


def signal_from(source: SignalLike) -> Signal:
    """A signal on a grid from a file or an array.

    Raises:
        DataError: it can't be read, or is a shape, points or slices.
    """
    if isinstance(source, Signal):
        return source
    loaded = load_signal(source) if isinstance(source, str | Path) else signal_of(source)
    if not isinstance(loaded, Signal):
        raise DataError(f"{source} is no signal on a grid but {loaded.description}; name a picture or an array.")
    return loaded


def truth_for(truth: SignalLike | None, shape: tuple[int, ...], channels: int) -> Float[Tensor, "*axes c"] | None:
    """The truth's samples.

    Raises:
        DataError: it has another shape than the answer.
    """
    if truth is None:
        return None
    values = signal_from(truth).values
    if values.shape != (*shape, channels):
        raise DataError(
            f"The truth has shape {tuple(values.shape)}, but the answer has {(*shape, channels)}; give one of its size."
        )
    return values


def only_images(signal: Signal, name: str) -> None:
    """Refuses what is no picture.

    Raises:
        UsageError: another kind of signal.
    """
    if signal.kind != "image":
        raise UsageError(f"The task '{name}' is about images, but this is {signal.description}.")
