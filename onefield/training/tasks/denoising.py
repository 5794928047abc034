"""A signal without the noise of its samples, by a field that varies little and stops before it learns the noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.training.recipes import target_of
from onefield.training.tasks.task import Problem, SignalLike, Task, truth_for
from onefield.training.variation import field_variation, noise_level

# Of the samples, this share is held out; they are looked at after so many steps.
_HELD_OUT = 0.1
_EVERY = 10
# Samples looked at, at most.
_MOST = 2**14
_LEAST_SAMPLES = 20
# Weight of the total variation over noise: half as much again as the noise's deviation, both in half ranges.
_VARIATION = 1.5


class HeldOutSamples:
    """Batches of most samples; the others tell which state of the field to keep.

    Noise of one sample says nothing about that of another. So the error at samples that the field never saw is that of
    the field, plus the noise's own, whatever the field: where the one is least, so is the other.
    """

    def __init__(self, signal: Signal, scale: float, generator: torch.Generator) -> None:
        """Draws the samples to hold out.

        Raises:
            DataError: too few samples to hold any out.
        """
        known = signal.known()
        if len(known) < _LEAST_SAMPLES:
            raise DataError(f"Denoising needs {_LEAST_SAMPLES} known samples or more, got {len(known)}.")
        order = known[torch.randperm(len(known), generator=generator)]
        held = max(1, int(_HELD_OUT * len(known)))
        self._signal, self._scale, self._generator = signal, scale, generator
        self._variation = _VARIATION * noise_level(signal) / scale
        self._all = known
        self._seen, self._held = order[held:].sort().values, order[:held][:_MOST].sort().values
        self._order = torch.empty(0, dtype=torch.long)
        self._steps, self._best_step, self._least = 0, 0, float("inf")
        self._best: dict[str, Tensor] = {}

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared error at so many samples relative to the signal's range, and variation."""
        if self._steps % _EVERY == 0:
            self._look(field)
        self._steps += 1
        count = min(batch, len(self._seen))
        if len(self._order) < count:
            self._order = torch.randperm(len(self._seen), generator=self._generator)
        picked = self._seen[self._order[:count].sort().values]
        self._order = self._order[count:]
        variation = field_variation(field, self._signal, self._all, self._scale, self._generator, max(1, batch // 4))
        return self._error(field, picked) + self._variation * variation

    def _error(self, field: Field, picked: Tensor) -> Tensor:
        answer = field.query(self._signal.points(picked), want=("value",)).value
        return ((answer - self._signal.at(picked)) / self._scale).square().mean()

    @torch.no_grad()
    def _look(self, field: Field) -> None:
        error = self._error(field, self._held).item()
        if error < self._least:
            self._least, self._best_step = error, self._steps
            self._best = {name: tensor.detach().clone() for name, tensor in field.state_dict().items()}

    def finish(self, field: Field) -> dict[str, float]:
        """Puts the field back to where held-out samples had the least error."""
        self._look(field)
        field.load_state_dict(self._best)
        # the range was halved to a scale; figures are in the signal's own unit
        return {"kept_step": float(self._best_step), "held_out_error": self._least**0.5 * self._scale}


@dataclass(frozen=True)
class Denoising(Task):
    """The signal behind noise that is independent from sample to sample.

    The field is held to little total variation, by the noise's strength as the samples tell it (Rudin et al. 1992). And
    what a field learns first is what its representation finds easy, natural signals before noise (Ulyanov et al. 2018):
    the state is kept at which held-out samples have the least error.

    Attributes:
        truth: the signal without noise, to score the answer.
    """

    truth: SignalLike | None = None
    name = "denoise"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for any signal on a grid.

        Raises:
            DataError: too few samples, or a truth of another shape.
        """
        evidence = HeldOutSamples(signal, target_of(signal).scale, generator)
        truth = truth_for(self.truth, signal.shape, signal.channels)
        return Problem(signal, signal.shape, evidence, signal.values, truth, signal.value_range, finish=evidence.finish)
