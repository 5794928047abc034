"""Coordinates as they are, centred."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.fields.encodings.encoding import Encoding


class IdentityEncoding(Encoding):
    """Maps the unit cube [0, 1]^d linearly to [-1, 1]^d; points outside continue the line.

    Args:
        dimension: number of coordinates of a point.
    """

    def __init__(self, dimension: int = 3) -> None:
        super().__init__()
        self.input_dimension = dimension
        self.output_dimension = dimension

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Centred coordinates."""
        return 2 * points - 1
