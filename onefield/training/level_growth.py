"""Encodings that begin with coarse levels and get the fine ones later."""

from __future__ import annotations

from torch import Tensor

from onefield.fields.encodings.levelled import LevelledEncoding
from onefield.fields.field import Field
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam


class LevelGrowth(Strategy):
    """Adds the levels of an encoding one after the other, evenly over a share of the run.

    Whole levels at a time as in Neuralangelo (Li et al. 2023, section 3.2), or little by little as in BARF (Lin et al.
    2021). What is not in use yet answers 0 and is not trained. A run that was ended before is shown with
    all levels: those that never were in use hold next to nothing.
    """

    def __init__(self, encoding: LevelledEncoding, first: int, end: float, gradual: bool = False) -> None:
        """Leaves the first levels alone at once.

        Args:
            encoding: whose levels are added.
            first: levels at the start, 1 to all.
            end: share of the run at which all are in use, above 0.
            gradual: whether a level comes by and by instead of at once.
        """
        self.encoding = encoding
        self.first = first
        self.end = end
        self.gradual = gradual
        encoding.use_levels(first)

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Sets the levels of this moment."""
        del field, optimizer
        self.advance(progress)

    def advance(self, progress: float) -> None:
        """Sets the levels of this moment of a run."""
        missing = self.encoding.level_count - self.first
        begun = missing * progress / self.end if self.gradual else int((missing + 1) * progress / self.end)
        self.encoding.use_levels(self.first + min(missing, begun))

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes all levels where a checkpoint is only looked at; in training the next step sets them."""
        self.encoding.use_levels(self.encoding.level_count)
