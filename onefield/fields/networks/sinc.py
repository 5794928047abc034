"""Network of cardinal sines."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork


class SincNetwork(ActivatedNetwork):
    """Layers ``sin(w z) / (w z)`` with ``z = W x + b`` (Saratchandran et al., "A sampling theory perspective on
    activations for implicit neural representations", ICML 2024).

    Inputs should fill [-1, 1].
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        bandwidth: float = 15.0,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one input layer, ``hidden_layers`` more, and a linear output.

        Args:
            bandwidth: w, the largest frequency of each sine, radians.

        Raises:
            UsageError: a size or bandwidth that is not positive.
        """
        super().__init__(input_dimension, output_dimension, width, hidden_layers, bandwidth, output_gain=output_gain)

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        # torch's sinc has a factor pi; its value and slope hold at 0, too
        return torch.sinc(values / math.pi)
