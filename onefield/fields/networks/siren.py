"""Network of sine layers."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class Siren(Network):
    """Sine network of Sitzmann et al. 2020: layers ``sin(w0 (W x + b))`` and a linear output.

    Inputs should fill [-1, 1] (the `Identity` encoding gives that). Initialisation as in the paper's section 3.2: first
    weights uniform in +-1/inputs, the others and the output in +-sqrt(6 / inputs) / w0, biases in +-1/sqrt(inputs).
    Then pre-activations beyond the first layer have a standard deviation near sqrt(2) and activations near 0.71, at
    every depth.

    Attributes:
        weights, biases: one matrix ``outputs inputs`` and one vector a layer, without the factor w0.
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
        super().__init__()
        first = w0 if first_w0 is None else first_w0
        if min(input_dimension, output_dimension, width) < 1 or hidden_layers < 0 or min(w0, first) <= 0:
            raise UsageError(
                f"A SIREN needs positive sizes and frequencies, got {input_dimension} inputs, {output_dimension} "
                f"outputs, width {width}, {hidden_layers} hidden layers, w0 {w0} and {first} in the first layer."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.frequencies = (first, *[w0] * hidden_layers)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        sizes = [input_dimension, *[width] * (hidden_layers + 1), output_dimension]
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = 1 / inputs if layer == 0 else (6 / inputs) ** 0.5 / w0
            bound = bound * output_gain if layer == hidden_layers + 1 else bound
            self.weights.append(nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(outputs).uniform_(-(inputs**-0.5), inputs**-0.5)))

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        for layer, w0 in enumerate(self.frequencies):
            # scaling the small matrices spares two passes over the activations
            features = torch.sin(functional.linear(features, w0 * self.weights[layer], w0 * self.biases[layer]))
        return functional.linear(features, self.weights[-1], self.biases[-1])
