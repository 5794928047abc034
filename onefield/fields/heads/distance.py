"""Signed distance from channel 0 of the features, starting as a sphere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.heads.head import Head


class DistanceHead(Head):
    """Signed distance ``|x - center| - radius + scale f0`` in world units, negative inside.

    The geometric initialisation of SAL and IDR makes a perceptron of coordinates start as the distance to a sphere;
    here the sphere is added in closed form, so that any encoding and network starts there, exactly where its first
    output is zero (hash tables: to 1e-4; others: a network made with ``output_gain`` near 0).
    """

    provides = "distance"

    def __init__(
        self,
        radius: float = 0.5,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float = 1.0,
        inside_out: bool = False,
    ) -> None:
        """Chooses the first surface.

        Args:
            radius: of the first surface, world units; 0 starts without a sphere, from the features alone.
            center: of the sphere, world units, one number an axis.
            scale: factor on the features, world units; sets how fast the surface moves.
            inside_out: negative outside of the sphere: for rooms seen from within.

        Raises:
            UsageError: a negative radius or a scale that is not positive.
        """
        super().__init__()
        if radius < 0 or scale <= 0:
            raise UsageError(f"DistanceHead needs radius >= 0 and scale > 0, got {radius} and {scale}.")
        self.radius = radius
        self.scale = scale
        self.sign = -1.0 if inside_out else 1.0
        self.register_buffer("center", torch.tensor(tuple(center), dtype=torch.float32))

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        if self.radius > 0 and len(self.center) != dimension:
            raise UsageError(
                f"DistanceHead has a sphere about {len(self.center)} coordinates, but points have {dimension}; give "
                "its center so many."
            )

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n"]:
        distance = self.scale * features[:, 0]
        if self.radius == 0:
            return distance
        if points is None:
            raise UsageError("DistanceHead needs points for its sphere; pass points=..., or make it with radius 0.")
        return distance + self.sign * (torch.linalg.vector_norm(points - self.center, dim=-1) - self.radius)
