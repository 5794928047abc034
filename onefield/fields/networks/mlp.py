"""Multilayer perceptron with ReLU between its layers."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError, nearest_name
from onefield.fields.networks.network import Network
from onefield.kernels.mlp import PRECISIONS, relu_layers


class Mlp(Network):
    """ReLU perceptron with a linear output.

    Weights start uniform with the variance of He et al. 2015 (eq. 10: 2 / inputs before a ReLU, 1 / inputs before the
    linear output), biases at zero.

    Attributes:
        weights: one matrix ``outputs inputs`` a layer.
        biases: one vector a layer; empty without bias.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 64,
        hidden_layers: int = 1,
        bias: bool = True,
        output_gain: float = 1.0,
        precision: str = "full",
    ) -> None:
        """Makes ``hidden_layers`` hidden layers of ``width`` units; none gives a linear map.

        Args:
            bias: whether layers have one.
            output_gain: factor on the last layer's first weights; near 0 lets the network start near the zero function.
            precision: ``full`` or ``mixed``, see `onefield.kernels.mlp.relu_layers`.

        Raises:
            UsageError: a size that is not positive, or an unknown precision.
        """
        super().__init__()
        if precision not in PRECISIONS:
            raise UsageError(f"Unknown precision '{precision}': {nearest_name(precision, PRECISIONS)}.")
        self.precision = precision
        if min(input_dimension, output_dimension, width) < 1 or hidden_layers < 0:
            raise UsageError(
                f"An MLP needs positive sizes, got {input_dimension} inputs, {output_dimension} outputs, width {width} "
                f"and {hidden_layers} hidden layers."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        sizes = [input_dimension, *[width] * hidden_layers, output_dimension]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            is_last = layer == hidden_layers
            # a uniform law on [-b, b] has variance b^2 / 3
            bound = output_gain * (3 / inputs) ** 0.5 if is_last else (6 / inputs) ** 0.5
            self.weights.append(nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound)))
            if bias:
                self.biases.append(nn.Parameter(torch.zeros(outputs)))

    def to_own_type(self, features: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """As they are: `onefield.kernels.mlp.relu_layers` takes any type."""
        return features

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        return relu_layers(features, list(self.weights), list(self.biases), self.precision)
