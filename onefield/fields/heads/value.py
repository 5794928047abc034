"""Signal values as the features themselves."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.heads.head import Head


class ValueHead(Head):
    """All features, mapped by ``offset + scale f``: the field's values, any unit.

    Offset and scale (usually the signal's mid-range and half-range) let the network work near [-1, 1].
    """

    provides = "value"

    def __init__(self, offset: float = 0.0, scale: float = 1.0) -> None:
        """Chooses the affine map.

        Raises:
            UsageError: a scale of 0.
        """
        super().__init__()
        if scale == 0:
            raise UsageError("ValueHead needs a scale other than 0.")
        self.offset = offset
        self.scale = scale

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n c"]:
        return features * self.scale + self.offset
