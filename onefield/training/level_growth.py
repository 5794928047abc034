"""Hash grids that begin with coarse levels and get the fine ones later (Neuralangelo)."""

from __future__ import annotations

from torch import Tensor

from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.field import Field
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam


class LevelGrowth(Strategy):
    """Adds the levels of a hash grid one after the other, evenly over a share of the run (Li et al. 2023, section 3.2).

    What is not in use yet answers 0 and is not trained. A run that was ended before is shown with all levels: those
    that never were in use hold next to nothing.
    """

    def __init__(self, encoding: HashGridEncoding, first: int, end: float) -> None:
        """Leaves the first levels alone at once.

        Args:
            encoding: whose levels are added.
            first: levels at the start, 1 to all.
            end: share of the run at which all are in use, above 0.
        """
        self.encoding = encoding
        self.first = first
        self.end = end
        encoding.use_levels(first)

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Sets the levels of this moment."""
        del field, optimizer
        missing = self.encoding.layout.levels - self.first
        self.encoding.use_levels(self.first + min(missing, int((missing + 1) * progress / self.end)))

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes all levels where a checkpoint is only looked at; in training the next step sets them."""
        self.encoding.use_levels(self.encoding.layout.levels)
