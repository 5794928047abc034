"""Colour from the feature channels after the geometry's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.heads.head import Head
from onefield.fields.networks.mlp import Mlp

COLOR_CHANNELS = 3


class ColorHead(Head):
    """RGB in [0, 1] by a small network from features and, where wanted, the viewing direction.

    Reads the channels from ``first_channel`` on.
    """

    provides = "color"

    def __init__(
        self,
        feature_dimension: int,
        direction_encoding: Encoding | None = None,
        width: int = 64,
        hidden_layers: int = 2,
        first_channel: int = 1,
        bias: bool = True,
        precision: str = "full",
    ) -> None:
        """Makes the network.

        Args:
            feature_dimension: how many channels are read: the features' length less ``first_channel``.
            direction_encoding: of unit directions, such as spherical harmonics; None makes a colour that is the same
                from everywhere.
            width, hidden_layers, bias, precision: of the network.
            first_channel: the first channel read.

        Raises:
            UsageError: no channel to read.
        """
        super().__init__()
        if feature_dimension < 1:
            raise UsageError(f"ColorHead needs at least one feature channel, got {feature_dimension}.")
        self.first_channel = first_channel
        self.needs_directions = direction_encoding is not None
        self.direction_encoding = direction_encoding
        extra = 0 if direction_encoding is None else direction_encoding.output_dimension
        self.network = Mlp(feature_dimension + extra, COLOR_CHANNELS, width, hidden_layers, bias, precision=precision)
        self.feature_dimension = feature_dimension

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        if features - self.first_channel != self.feature_dimension:
            raise UsageError(
                f"ColorHead reads {self.feature_dimension} features from channel {self.first_channel} on, but of "
                f"{features} there are {max(features - self.first_channel, 0)}."
            )

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n 3"]:
        read = features[:, self.first_channel :]
        if self.direction_encoding is not None:
            read = torch.cat([read, self.direction_encoding(directions)], dim=-1)
        return torch.sigmoid(self.network(read))


class PlainColor(Head):
    """RGB in [0, 1] as the sigmoid of three channels, the same from everywhere; for grids that store colour itself."""

    provides = "color"

    def __init__(self, first_channel: int = 1) -> None:
        super().__init__()
        self.first_channel = first_channel

    def check(self, features: int, dimension: int) -> None:
        """See `Head`."""
        if features < self.first_channel + COLOR_CHANNELS:
            raise UsageError(
                f"PlainColor reads {COLOR_CHANNELS} features from channel {self.first_channel} on, got {features} in "
                "all."
            )

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n 3"]:
        return torch.sigmoid(features[:, self.first_channel : self.first_channel + COLOR_CHANNELS])
