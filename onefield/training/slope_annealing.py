"""Slopes along rays that are trusted step by step (NeuS)."""

from __future__ import annotations

from torch import Tensor

from onefield.fields.field import Field
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam


class SlopeAnnealing(Strategy):
    """Raises the certainty of `DistanceAsOpacity` linearly from 0 to 1 (Wang et al. 2021, in the code)."""

    def __init__(self, opacity: DistanceAsOpacity, end: float) -> None:
        """Distrusts slopes at once.

        Args:
            opacity: the field whose certainty is raised.
            end: share of the run at which slopes count as they are, above 0.
        """
        self.opacity = opacity
        self.end = end
        opacity.certainty.fill_(0.0)

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Sets the certainty of this moment."""
        del field, optimizer
        self.opacity.certainty.fill_(min(1.0, progress / self.end))

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Nothing: no parameter changes its shape."""
