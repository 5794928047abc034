"""Encodings whose features come in levels, from coarse to fine."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding


class LevelledEncoding(Encoding):
    """An encoding of which the coarsest levels can be used alone: octaves, frequencies, or resolutions of grids.

    Attributes:
        active_levels: how many levels answer; all of them unless `use_levels` says otherwise.
    """

    active_levels: float

    @property
    @abstractmethod
    def level_count(self) -> int:
        """How many levels there are."""

    def use_levels(self, count: float) -> None:
        """From now on only the coarsest ``count`` levels answer; the features of the others are 0.

        Of a level that is only begun, a part answers: ``(1 - cos(pi t)) / 2`` of it for the share t (Park et al. 2021,
        "Nerfies"; Lin et al. 2021, "BARF").

        Raises:
            UsageError: there is no such number of levels.
        """
        if not 1 <= count <= self.level_count:
            raise UsageError(
                f"{type(self).__name__} of {self.level_count} levels can't use {count:g} of them; take 1 to all."
            )
        self.active_levels = count

    def level_weights(self) -> Float[Tensor, "l"]:
        """The factor on the features of each level, in [0, 1]."""
        begun = (self.active_levels - torch.arange(self.level_count)).clamp(0, 1)
        return (1 - torch.cos(math.pi * begun)) / 2
