"""Coordinates as they are, centred."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.fields.encodings.encoding import Encoding


class IdentityEncoding(Encoding):
    """Maps the unit cube [0, 1]^d linearly to [-scale, scale]^d; points outside continue the line.

    Args:
        dimension: number of coordinates of a point.
        scale: half the side of the cube that points are mapped to; long signals need more than 1.
    """

    def __init__(self, dimension: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        self.input_dimension = dimension
        self.output_dimension = dimension
        self.scale = scale

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Centred coordinates."""
        return self.scale * (2 * points - 1)
