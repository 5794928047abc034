"""The nearest point of a surface, and how far it is, from channels 0 to 2 of the features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.heads.head import Head


class ClosestPointHead(Head):
    """The nearest point of the surface, ``x + scale f`` with the first three features as f, world units.

    A surface needs no inside for this, so it may be open (Venkatesh et al., "Deep implicit surface point prediction
    networks" (2021), section 3).
    """

    provides = "closest_point"

    def __init__(self, scale: float = 1.0) -> None:
        """Chooses the unit of the features.

        Args:
            scale: factor on the features, world units.

        Raises:
            UsageError: a scale that is not positive.
        """
        super().__init__()
        self.scale = _positive(scale)

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        _check_space(features, dimension)

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n 3"] | None = None,
    ) -> Float[Tensor, "n 3"]:
        if points is None:
            raise UsageError("ClosestPointHead answers relative to points; pass points=...")
        return points + self.scale * features[:, :3]


class UnsignedDistanceHead(Head):
    """Distance from the point that `ClosestPointHead` answers, ``scale |f|``, >= 0 on either side; world units."""

    provides = "distance"

    def __init__(self, scale: float = 1.0) -> None:
        """Chooses the unit of the features.

        Args:
            scale: that of the `ClosestPointHead` beside it.

        Raises:
            UsageError: a scale that is not positive.
        """
        super().__init__()
        self.scale = _positive(scale)

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        _check_space(features, dimension)

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n 3"] | None = None,
    ) -> Float[Tensor, "n"]:
        return self.scale * torch.linalg.vector_norm(features[:, :3], dim=-1)


def _positive(scale: float) -> float:
    if scale <= 0:
        raise UsageError(f"A closest point needs a positive scale, got {scale}.")
    return scale


def _check_space(features: int, dimension: int) -> None:
    if features < 3 or dimension != 3:
        raise UsageError(
            f"A closest point takes 3 features of points in space, got {features} of {dimension}-D points."
        )
