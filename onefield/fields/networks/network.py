"""The interface of every network between an encoding and the heads of a field."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Maps feature vectors to feature vectors, one point at a time.

    Attributes:
        input_dimension, output_dimension: lengths of the vectors.
    """

    input_dimension: int
    output_dimension: int

    def to_own_type(self, features: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Features in the floating-point type of the network's numbers, with which alone they can be multiplied."""
        return features.to(next(self.parameters()).dtype)

    @abstractmethod
    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        """The output for each row; rows do not influence each other."""
