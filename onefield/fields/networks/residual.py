"""Residual network that is told its input again before every block."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class ResidualBlock(nn.Module):
    """``shortcut(x) + W2 relu(W1 relu(x))``, whose second part starts at 0; the shortcut is linear where sizes differ.

    The fully connected block of Mescheder et al. 2019 (Occupancy Networks), after He et al. 2016.
    """

    def __init__(self, input_dimension: int, output_dimension: int) -> None:
        super().__init__()
        self.first = nn.Linear(input_dimension, output_dimension)
        self.second = nn.Linear(output_dimension, output_dimension)
        nn.init.zeros_(self.second.weight)
        same = input_dimension == output_dimension
        self.shortcut = nn.Identity() if same else nn.Linear(input_dimension, output_dimension, bias=False)

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        """Each row by itself."""
        return self.shortcut(features) + self.second(torch.relu(self.first(torch.relu(features))))


class ResidualNetwork(Network):
    """Blocks of equal width; a linear map of the features is added before each.

    The decoder of convolutional occupancy networks (Peng et al. 2020, section 3.3), without the coordinates: the
    features alone say where they are, so that the answer moves with them.
    """

    def __init__(self, input_dimension: int, output_dimension: int, width: int = 32, blocks: int = 5) -> None:
        """Makes the blocks.

        Raises:
            UsageError: a size that is not positive.
        """
        super().__init__()
        if min(input_dimension, output_dimension, width, blocks) < 1:
            raise UsageError(
                f"A residual network needs positive sizes, got {input_dimension} inputs, {output_dimension} outputs, "
                f"width {width} and {blocks} blocks."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.inlets = nn.ModuleList(nn.Linear(input_dimension, width) for _ in range(blocks))
        self.blocks = nn.ModuleList(ResidualBlock(width, width) for _ in range(blocks))
        self.last = nn.Linear(width, output_dimension)

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        hidden = features.new_zeros(())
        for inlet, block in zip(self.inlets, self.blocks, strict=True):
            hidden = block(hidden + inlet(features))
        return self.last(torch.relu(hidden))
