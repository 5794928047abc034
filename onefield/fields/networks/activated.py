"""Networks of layers that differ in their activation alone."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class ActivatedNetwork(Network):
    """Layers ``activate(factor (W x + b))`` and a linear output.

    A subclass says the activation and, where its paper has one of its own, the first weights. All draw their first
    numbers from uniform laws, by default those of PyTorch's linear layers, +-1/sqrt(inputs) for weights and biases.

    Attributes:
        factors: what multiplies each activated layer's ``W x + b``.
        weights, biases: one matrix ``outputs inputs`` and one vector a layer, without the factor.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int,
        hidden_layers: int,
        factor: float,
        first_factor: float | None = None,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one activated input layer, ``hidden_layers`` more, and a linear output.

        Args:
            factor: of each activated layer, how fast or how narrow its activation is.
            first_factor: of the first of them; None takes ``factor``.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size or factor that is not positive.
        """
        super().__init__()
        first = factor if first_factor is None else first_factor
        if min(input_dimension, output_dimension, width) < 1 or hidden_layers < 0 or not min(factor, first) > 0:
            raise UsageError(
                f"{type(self).__name__} needs positive sizes and factors, got {input_dimension} inputs, "
                f"{output_dimension} outputs, width {width}, {hidden_layers} hidden layers, factor {factor}, and "
                f"{first} in the first layer."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.factors = (first, *[factor] * hidden_layers)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        sizes = [input_dimension, *[width] * len(self.factors), output_dimension]
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = self.weight_bound(layer, inputs) * (output_gain if layer == len(self.factors) else 1.0)
            self.weights.append(nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound)))
            bound = self.bias_bound(layer, inputs)
            self.biases.append(nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)))

    @abstractmethod
    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """The activation of each number, which is ``factor (W x + b)``."""

    def weight_bound(self, layer: int, inputs: int) -> float:
        """First weights of a layer, the output's too, are uniform between plus and minus this."""
        return inputs**-0.5

    def bias_bound(self, layer: int, inputs: int) -> float:
        """The same of its biases."""
        return inputs**-0.5

    def activated(
        self, features: Float[Tensor, "n f"], weight: Float[Tensor, "g f"], bias: Float[Tensor, "g"], factor: float
    ) -> Float[Tensor, "n g"]:
        """One layer, the activation of ``factor (W x + b)``."""
        # scaling the small matrices spares two passes over the activations
        return self.activate(functional.linear(features, factor * weight, factor * bias))

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        for layer, factor in enumerate(self.factors):
            features = self.activated(features, self.weights[layer], self.biases[layer], factor)
        return functional.linear(features, self.weights[-1], self.biases[-1])
