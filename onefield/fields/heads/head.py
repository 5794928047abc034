"""The interface of every head: from a field's features to one quantity."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Reads the features of a `ComposedField` and answers one quantity.

    By convention channel 0 of the features belongs to the geometry (density or distance) and channels 1, 2, ... to the
    colour.

    Attributes:
        provides: the name of the quantity in `Sample`.
        needs_directions: whether the answer depends on the viewing direction.
    """

    provides: str
    needs_directions: bool = False

    def check(self, features: int, dimension: int) -> None:
        """Says at once whether it can read so many features of points of so many coordinates.

        Raises:
            UsageError: it can't.
        """
        del features, dimension

    @abstractmethod
    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Tensor:
        """The quantity, ``n`` for scalars and ``n c`` for vectors.

        Args:
            directions: unit viewing directions, there where ``needs_directions``.
            points: world coordinates, for heads that know a prior shape.
        """
