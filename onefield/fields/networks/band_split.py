"""A low-pass network and a band-pass one of complex wavelets, added."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.network import Network
from onefield.fields.networks.wire import Wire


class BandSplitNetwork(Network):
    """The sum of a network of broad Gaussians, scaling functions, and one of complex Gabor wavelets.

    Roddenberry et al., "Implicit neural representations and the algebra of complex wavelets" (ICLR 2024): powers of an
    analytic wavelet stay away from frequency 0, so that a network of them can't well show what varies slowly, which a
    low-pass network beside it does; and first atoms belong where the signal is singular (`centre_on`).

    Attributes:
        low: scaling functions.
        band: wavelets.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 128,
        hidden_layers: int = 2,
        low_width: int = 64,
        low_factor: float = 3.0,
        frequency: float = 10.0,
        sharpness: float = 10.0,
        output_gain: float = 1.0,
    ) -> None:
        """Makes both networks.

        Args:
            width: complex units a layer of the wavelets.
            hidden_layers: of the wavelets beyond the first; the low-pass network has one.
            low_width: real units a layer of the low-pass network.
            low_factor: reciprocal of its Gaussians' half width at a height of 1/e.
            frequency, sharpness: of the wavelets, as of `Wire`.
            output_gain: factor on both outputs' first weights.

        Raises:
            UsageError: a size, factor, frequency or sharpness that is not positive.
        """
        super().__init__()
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.low = GaussianNetwork(input_dimension, output_dimension, low_width, 1, low_factor, output_gain=output_gain)
        self.band = Wire(input_dimension, output_dimension, width, hidden_layers, frequency, sharpness, output_gain)

    @torch.no_grad()
    def centre_on(self, places: Float[Tensor, "p d"]) -> None:
        """Moves the first wavelets so that the ridge of each goes through one of these places, taken in turn.

        Args:
            places: where the signal is singular, such as at edges, as inputs of the network.

        Raises:
            UsageError: no place, or one of other dimensions.
        """
        if len(places) == 0 or places.shape[1] != self.input_dimension:
            raise UsageError(
                f"Wavelets of {self.input_dimension} inputs need places of as many numbers, got shape "
                f"{tuple(places.shape)}."
            )
        weight, bias = self.band.weights[0][0], self.band.biases[0][0]
        taken = places.to(weight)[torch.arange(len(bias), device=weight.device) % len(places)]
        bias.copy_(-(weight * taken).sum(1))

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        return self.low(features) + self.band(features)


_OPTIONS = {"width": 128, "hidden_layers": 2, "low_width": 64, "low_factor": 3.0, "frequency": 10.0, "sharpness": 10.0}
BAND_SPLIT = Backbone("band-split", BandSplitNetwork, _OPTIONS, growing=("width", "low_width"))
