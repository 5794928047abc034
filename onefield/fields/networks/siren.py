"""Network of sine layers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class Siren(ActivatedNetwork):
    """Sine network of Sitzmann et al. 2020: layers ``sin(w0 (W x + b))`` and a linear output.

    Inputs should fill [-1, 1] (the `Identity` encoding gives that). Initialisation as in the paper's section 3.2: first
    weights uniform in +-1/inputs, the others and the output in +-sqrt(6 / inputs) / w0, biases in +-1/sqrt(inputs).
    Then pre-activations beyond the first layer have a standard deviation near sqrt(2) and activations near 0.71, at
    every depth.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        w0: float = 30.0,
        first_w0: float | None = None,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one input sine layer, ``hidden_layers`` more, and a linear output.

        Args:
            w0: frequency factor of each sine layer.
            first_w0: factor of the first layer, which sets the band of the signal; None takes ``w0``. Long signals need
                more (audio: thousands).
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size or frequency that is not positive.
        """
        self._w0 = w0
        super().__init__(input_dimension, output_dimension, width, hidden_layers, w0, first_w0, output_gain)

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.sin(values)

    def weight_bound(self, layer: int, inputs: int) -> float:
        return 1 / inputs if layer == 0 else (6 / inputs) ** 0.5 / self._w0


SIREN = Backbone("siren", Siren, {"width": 256, "hidden_layers": 3, "w0": 30.0, "first_w0": 30.0})
