"""Occupancy from one channel of the features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.heads.head import Head


class OccupancyHead(Head):
    """Probability of being inside, ``sigmoid(f)`` (Mescheder et al., "Occupancy Networks", 2019).

    With a radius it starts as a ball: ``sigmoid(sharpness (radius - |x| + f))``, which is how Lyu et al., "Learning a
    Room with the Occ-SDF Hybrid" (2023), make an occupancy of what starts as a distance (their sharpness is 10).
    """

    provides = "occupancy"

    def __init__(self, channel: int = 0, radius: float = 0.0, sharpness: float = 1.0, inside_out: bool = False) -> None:
        """Chooses the channel and the first solid.

        Args:
            channel: of the features.
            radius: of a first ball about the origin, world units; 0 starts from the features alone.
            sharpness: of the step at the ball's surface, per world unit.
            inside_out: solid outside of the ball: for rooms seen from within.

        Raises:
            UsageError: a negative radius or a sharpness that is not positive.
        """
        super().__init__()
        if radius < 0 or sharpness <= 0:
            raise UsageError(f"OccupancyHead needs radius >= 0 and sharpness > 0, got {radius} and {sharpness}.")
        self.channel = channel
        self.radius = radius
        self.sharpness = sharpness
        self.sign = -1.0 if inside_out else 1.0

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        if not 0 <= self.channel < features:
            raise UsageError(f"OccupancyHead reads channel {self.channel}, but there are {features} features.")

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n"]:
        level = features[:, self.channel]
        if self.radius > 0:
            if points is None:
                raise UsageError("OccupancyHead needs points for its ball; pass points=..., or make it with radius 0.")
            level = level + self.sign * (self.radius - torch.linalg.vector_norm(points, dim=-1))
        return torch.sigmoid(self.sharpness * level)
