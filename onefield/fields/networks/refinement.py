"""Network that refines its answer step by step."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class RefinementNetwork(Network):
    """One perceptron applied again and again: each turn adds a residual to the answer and passes a memory on.

    The network of OReX (Sawdayee et al. 2023, section 3.2): turn t sees the features, the memory of turn t - 1 and a
    one-hot t, and leaky ReLU separates its layers. The output holds the answers after every turn, **the last one
    first**, so that a head reads the final answer in channel 0 and a loss can hold all of them to the truth.

    Attributes:
        layers: of the perceptron that all turns share.
    """

    def __init__(
        self, input_dimension: int, turns: int, width: int = 64, hidden_layers: int = 3, memory: int = 32
    ) -> None:
        """Makes the shared perceptron; its output starts near 0.

        Args:
            turns: refinements; 1 is a plain perceptron.
            memory: numbers passed from turn to turn.

        Raises:
            UsageError: a size that is not positive.
        """
        super().__init__()
        if min(input_dimension, turns, width, hidden_layers) < 1 or memory < 0:
            raise UsageError(
                f"A refinement network needs positive sizes, got {input_dimension} inputs, {turns} turns, width "
                f"{width}, {hidden_layers} hidden layers and memory {memory}."
            )
        self.input_dimension = input_dimension
        self.output_dimension = turns
        self.memory = memory
        sizes = [input_dimension + memory + turns, *[width] * hidden_layers, 1 + memory]
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes))

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n t"]:
        count, turns = features.shape[0], self.output_dimension
        memory = features.new_zeros(count, self.memory)
        answer = features.new_zeros(count)
        answers = []
        for turn in range(turns):
            which = functional.one_hot(torch.tensor(turn, device=features.device), turns).to(features.dtype)
            hidden = torch.cat([features, memory, which.expand(count, turns)], dim=-1)
            for layer in list(self.layers)[:-1]:
                hidden = functional.leaky_relu(layer(hidden))
            output = self.layers[-1](hidden)
            answer, memory = answer + output[:, 0], output[:, 1:]
            answers.append(answer)
        return torch.stack(answers[::-1], dim=-1)
