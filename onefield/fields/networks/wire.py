"""Network of complex Gabor wavelets."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.network import Network


class Wire(Network):
    """Layers ``exp(i w z - |s z|^2)`` of complex ``z = W x + b``; the output is the real part of a complex linear map.

    Saragadam et al., "WIRE: wavelet implicit neural representations" (CVPR 2023), eq. 5. The first layer's weights are
    real. Real and imaginary parts of all first numbers are uniform in +-1/sqrt(inputs). Inputs should fill [-1, 1].
    Trains stably where frequency / sharpness stays below about 2.

    Complex numbers are kept as pairs of real columns, real parts first: one real product a layer then does what a
    complex one does.

    Attributes:
        weights: of each layer ``[2, outputs, inputs]``, real and imaginary part; the first is ``[1, outputs, inputs]``.
        biases: of each layer ``[2, outputs]``, and ``[1, outputs]``.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 181,
        hidden_layers: int = 2,
        frequency: float = 10.0,
        sharpness: float = 10.0,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one input layer, ``hidden_layers`` more, and a linear output.

        Args:
            width: complex units, each of which counts for two of real numbers.
            frequency: w, radians.
            sharpness: s, the reciprocal of the envelopes' half width at a height of 1/e.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size, frequency or sharpness that is not positive.
        """
        super().__init__()
        positive = min(input_dimension, output_dimension, width) > 0 and min(frequency, sharpness) > 0
        if not positive or hidden_layers < 0:
            raise UsageError(
                f"Wire needs positive sizes, frequency and sharpness, got {input_dimension} inputs, {output_dimension} "
                f"outputs, width {width}, {hidden_layers} hidden layers, frequency {frequency}, sharpness {sharpness}."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.frequency = frequency
        self.sharpness = sharpness
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        sizes = [input_dimension, *[width] * (hidden_layers + 1), output_dimension]
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            parts, bound = 1 if layer == 0 else 2, inputs**-0.5
            gain = output_gain if layer == hidden_layers + 1 else 1.0
            self.weights.append(nn.Parameter(torch.empty(parts, outputs, inputs).uniform_(-bound, bound) * gain))
            self.biases.append(nn.Parameter(torch.empty(parts, outputs).uniform_(-bound, bound)))

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        values = functional.linear(features, self.weights[0][0], self.biases[0][0])
        phase, fading = self.frequency * values, (self.sharpness * values).square()
        waves = _polar(phase, fading)
        # lists, for a slice of parameters makes new ones where others stand in for them
        for weight, bias in zip(list(self.weights)[1:-1], list(self.biases)[1:-1], strict=True):
            real, imaginary = functional.linear(waves, _as_real(weight), bias.flatten()).chunk(2, dim=1)
            fading = self.sharpness**2 * (real.square() + imaginary.square()) + self.frequency * imaginary
            waves = _polar(self.frequency * real, fading)
        real, imaginary = self.weights[-1].unbind()
        return functional.linear(waves, torch.cat([real, -imaginary], dim=1), self.biases[-1][0])


def _polar(phase: Float[Tensor, "n w"], fading: Float[Tensor, "n w"]) -> Float[Tensor, "n 2w"]:
    """``exp(i phase - fading)``."""
    size = torch.exp(-fading)
    return torch.cat([size * torch.cos(phase), size * torch.sin(phase)], dim=1)


def _as_real(weight: Float[Tensor, "2 o i"]) -> Float[Tensor, "2o 2i"]:
    """The matrix that does to pairs what a complex one does."""
    real, imaginary = weight.unbind()
    return torch.cat([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)])


WIRE = Backbone("wire", Wire, {"width": 181, "hidden_layers": 2, "frequency": 10.0, "sharpness": 10.0})
