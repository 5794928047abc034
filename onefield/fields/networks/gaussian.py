"""Network of Gaussian bumps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork


class GaussianNetwork(ActivatedNetwork):
    """Layers ``exp(-(s z)^2)`` with ``z = W x + b`` (Ramasinghe and Lucey, "Beyond Periodicity", ECCV 2022).

    The paper's ``exp(-z^2 / (2 a^2))`` has ``s = 1 / (a sqrt(2))``. Inputs should fill [-1, 1].
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        sharpness: float = 10.0,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one input layer, ``hidden_layers`` more, and a linear output.

        Args:
            sharpness: s, the reciprocal of the bumps' half width at a height of 1/e.

        Raises:
            UsageError: a size or sharpness that is not positive.
        """
        super().__init__(input_dimension, output_dimension, width, hidden_layers, sharpness, output_gain=output_gain)

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.exp(-values.square())
