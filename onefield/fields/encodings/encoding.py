"""The one interface of every encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Encoding(nn.Module, ABC):
    """Maps points of the unit cube to feature vectors, which a network or a head turns into quantities.

    Attributes:
        input_dimension: d, the number of coordinates of a point.
        output_dimension: f, the number of features of a point.
        parameter_group: the learning-rate group that its parameters belong to.
    """

    input_dimension: int
    output_dimension: int
    parameter_group: str = "encoding"

    @abstractmethod
    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Encodes points given in the unit cube [0, 1]^d.

        Grids clamp points outside to the cube's border; encodings without a table answer anywhere.
        """
