"""Multiplicative filter networks."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.network import Network


class MultiplicativeNetwork(Network):
    """``h_0 = g_0(x)``, ``h_l = g_l(x) * (W_l h_{l-1} + b_l)``, and a linear output: nothing bends but the filters.

    Fathony et al., "Multiplicative Filter Networks" (ICLR 2021), eq. 4. With sines as filters the output is a sum of
    sines, whose frequencies are sums of the filters'. Inputs should fill [-1, 1].

    Attributes:
        frequencies: of the sines of each filter, ``[filters, width, inputs]``, radians.
        phases: ``[filters, width]``.
        layers: ``W_l`` and ``b_l``.
        output: linear.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int,
        hidden_layers: int,
        output_gain: float,
        weight_bound: float = 1.0,
    ) -> None:
        """Makes ``hidden_layers`` + 1 filters, whose frequencies a subclass draws, and the layers between them.

        Args:
            output_gain: factor on the last layer's first weights.
            weight_bound: first weights of the layers are uniform in plus and minus this over ``sqrt(width)``.

        Raises:
            UsageError: a size that is not positive.
        """
        super().__init__()
        if min(input_dimension, output_dimension, width, hidden_layers) < 1:
            raise UsageError(
                f"{type(self).__name__} needs positive sizes, got {input_dimension} inputs, {output_dimension} "
                f"outputs, width {width} and {hidden_layers} hidden layers."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        filters = hidden_layers + 1
        self._keep_frequencies(self.drawn_frequencies(filters, width))
        self.phases = nn.Parameter(torch.empty(filters, width).uniform_(-torch.pi, torch.pi))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(hidden_layers))
        for layer in self.layers:
            nn.init.uniform_(layer.weight, -weight_bound * width**-0.5, weight_bound * width**-0.5)
        self.output = nn.Linear(width, output_dimension)
        with torch.no_grad():
            self.output.weight *= output_gain

    def _keep_frequencies(self, drawn: Float[Tensor, "k w f"]) -> None:
        """As parameters; a subclass may hold them fixed."""
        self.frequencies = nn.Parameter(drawn)

    @abstractmethod
    def drawn_frequencies(self, filters: int, width: int) -> Float[Tensor, "k w f"]:
        """The first frequencies of all filters."""

    @abstractmethod
    def filtered(self, features: Float[Tensor, "n f"], index: int) -> Float[Tensor, "n w"]:
        """What a filter makes of the inputs."""

    def sines(self, features: Float[Tensor, "n f"], index: int) -> Float[Tensor, "n w"]:
        """``sin(w x + phi)`` of a filter."""
        return torch.sin(functional.linear(features, self.frequencies[index], self.phases[index]))

    def hidden(self, features: Float[Tensor, "n f"]) -> list[Float[Tensor, "n w"]]:
        """What each filter leaves, the first one first."""
        found = [self.filtered(features, 0)]
        for index, layer in enumerate(self.layers, start=1):
            found.append(self.filtered(features, index) * layer(found[-1]))
        return found

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        return self.output(self.hidden(features)[-1])


class FourierFilterNetwork(MultiplicativeNetwork):
    """Filters ``sin(w x + phi)``, w normal and phi uniform (Fathony et al. 2021, section 3.1)."""

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        frequency: float = 64.0,
        output_gain: float = 1.0,
    ) -> None:
        """Draws the filters.

        Args:
            frequency: standard deviation of the sum of one frequency of every filter along an axis, radians: the band
                of the whole network.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size or frequency that is not positive.
        """
        if not frequency > 0:
            raise UsageError(f"FourierFilterNetwork needs a frequency above 0, got {frequency}.")
        self._frequency = frequency
        super().__init__(input_dimension, output_dimension, width, hidden_layers, output_gain)

    def drawn_frequencies(self, filters: int, width: int) -> Float[Tensor, "k w f"]:
        return torch.randn(filters, width, self.input_dimension) * self._frequency * filters**-0.5

    def filtered(self, features: Float[Tensor, "n f"], index: int) -> Float[Tensor, "n w"]:
        return self.sines(features, index)


class GaborFilterNetwork(MultiplicativeNetwork):
    """Filters ``exp(-gamma / 2 |x - mu|^2) sin(w x + phi)`` (Fathony et al. 2021, section 3.2).

    Each unit's gamma is drawn from a gamma distribution, mu from the cube, and w gets the unit's ``sqrt(gamma)``, so
    that narrow envelopes hold fast sines.

    Attributes:
        centers: mu, ``[filters, width, inputs]``.
        sharpnesses: gamma, ``[filters, width]``.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        frequency: float = 64.0,
        sharpness: float = 6.0,
        output_gain: float = 1.0,
    ) -> None:
        """Draws the filters.

        Args:
            frequency: standard deviation of the sum of one frequency of every filter along an axis at gamma = 1,
                radians.
            sharpness: mean of the sum of one gamma of every filter.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size, frequency or sharpness that is not positive.
        """
        if not min(frequency, sharpness) > 0:
            raise UsageError(
                f"GaborFilterNetwork needs a frequency and a sharpness above 0, got {frequency} and {sharpness}."
            )
        self._frequency = frequency
        super().__init__(input_dimension, output_dimension, width, hidden_layers, output_gain)
        filters = hidden_layers + 1
        shape = torch.full((filters, width), sharpness / filters)
        # unchecked, so that a network can be sized without values
        law = torch.distributions.Gamma(shape, torch.ones_like(shape), validate_args=False)
        self.sharpnesses = nn.Parameter(law.sample())
        self.centers = nn.Parameter(torch.empty(filters, width, input_dimension).uniform_(-1, 1))
        with torch.no_grad():
            self.frequencies *= self.sharpnesses.sqrt()[..., None]

    def drawn_frequencies(self, filters: int, width: int) -> Float[Tensor, "k w f"]:
        return torch.randn(filters, width, self.input_dimension) * self._frequency * filters**-0.5

    def filtered(self, features: Float[Tensor, "n f"], index: int) -> Float[Tensor, "n w"]:
        centers, half = self.centers[index], self.sharpnesses[index][:, None] / 2
        # -gamma / 2 |x - mu|^2 is linear in x and |x|^2: one product, without a tensor of points x width x inputs
        powers = torch.cat([features, features.square().sum(1, keepdim=True)], dim=1)
        weights = torch.cat([2 * half * centers, -half], dim=1)
        exponents = functional.linear(powers, weights, -half[:, 0] * centers.square().sum(1))
        return torch.exp(exponents) * self.sines(features, index)


_SIZES = {"width": 256, "hidden_layers": 3, "frequency": 64.0}
FOURIER_FILTERS = Backbone("mfn-fourier", FourierFilterNetwork, _SIZES, rate=1e-2)
GABOR_FILTERS = Backbone("mfn-gabor", GaborFilterNetwork, _SIZES | {"sharpness": 6.0}, rate=1e-2)
