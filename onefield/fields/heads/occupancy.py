"""Occupancy from channel 0 of the features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.heads.head import Head


class OccupancyHead(Head):
    """Probability of being inside, ``sigmoid(f0)`` (Mescheder et al., "Occupancy Networks", 2019)."""

    provides = "occupancy"

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n"]:
        return torch.sigmoid(features[:, 0])
