"""How long and how fast a run learns."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from onefield.errors import UsageError
from onefield.training.seeds import checked_seed

_FINITE = sys.float_info.max
# Least and greatest value of what need not be above 0.
_RANGES = {
    "network_decay": (0.0, _FINITE),
    "warmup": (0.0, 1.0),
    "final_rate": (0.0, 1.0),
    "decay_start": (0.0, 1.0),
    # a mean with none of the newest in it has no bias that could be taken out
    "beta2": (0.0, math.nextafter(1.0, 0.0)),
    "validate_every": (0.0, _FINITE),
    "save_seconds": (0.0, math.inf),
}


@dataclass(frozen=True)
class TrainingSettings:
    """Budgets, rates and rhythm of a training run.

    Attributes:
        steps: optimisation steps of the whole run.
        seconds: budget of training time instead of steps; None counts steps.
        samples_per_step: target number of samples (points asked of the field) of one step; the number of rays follows.
        first_rays: rays of the first step.
        most_rays: upper bound of rays of a step.
        encoding_rate: peak learning rate of tables and grids.
        network_rate: peak learning rate of everything else.
        network_decay: L2 penalty on networks.
        pose_rate: peak learning rate of pose corrections (radians, and units of the normalised scene).
        appearance_rate: peak learning rate of each image's exposure, colour or code.
        warmup: share of the run over which rates rise linearly from near zero.
        final_rate: factor on the rates that the run ends with.
        decay_start: share of the run after which rates fall exponentially to ``final_rate``.
        beta2: decay of Adam's second moment; near 1 where a step touches few of the parameters.
        seed: of all random numbers.
        validate_every: steps between held-out checks on a few rays; 0 never checks.
        save_seconds: longest training time between two checkpoints.
    """

    steps: int = 4000
    seconds: float | None = None
    samples_per_step: int = 2**15
    first_rays: int = 256
    most_rays: int = 2**14
    encoding_rate: float = 2e-2
    network_rate: float = 3e-3
    network_decay: float = 0.0
    pose_rate: float = 3e-4
    appearance_rate: float = 5e-3
    warmup: float = 0.01
    final_rate: float = 0.03
    decay_start: float = 0.3
    beta2: float = 0.99
    seed: int = 0
    validate_every: int = 100
    save_seconds: float = 60.0

    def __post_init__(self) -> None:
        positive = ("steps", "samples_per_step", "first_rays", "most_rays", "encoding_rate", "network_rate")
        positive += ("pose_rate", "appearance_rate")
        for name in positive:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"training.{name} must be positive, got {value}.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(f"training.seconds must be positive, got {self.seconds}.")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"training.{name} must lie between {least:g} and {most:g}, got {getattr(self, name)}.")
        checked_seed(self.seed)

    def lasting(self, steps: int) -> TrainingSettings:
        """The same with a budget of so many steps, whatever it was before."""
        return replace(self, steps=steps, seconds=None)

    def progress(self, step: int, elapsed: float) -> float:
        """Share of the run that is done, in [0, 1], by time where a time budget is set."""
        share = step / self.steps if self.seconds is None else elapsed / self.seconds
        return min(1.0, share)

    def rate_factor(self, progress: float) -> float:
        """Linear warm-up, plateau, exponential decay."""
        if self.warmup > 0 and progress < self.warmup:
            return max(progress / self.warmup, self.final_rate)
        if progress <= self.decay_start:
            return 1.0
        share = (progress - self.decay_start) / (1 - self.decay_start)
        return self.final_rate**share
