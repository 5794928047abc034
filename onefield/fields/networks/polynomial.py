"""Network of products: a polynomial of its inputs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.network import Network


class PolynomialNetwork(Network):
    """Layers that multiply what came before by an affine map of the inputs (Singh et al., "Polynomial Implicit Neural
    Representations For Large Diverse Datasets", CVPR 2023, eq. 3).

    ``h_0 = act(W_0 (A_0 x + a_0) + b_0)`` and ``h_l = act(W_l (h_{l-1} * (A_l x + a_l)) + b_l)``, then a linear output.
    With ``slope=1`` the activation is the identity, and the network is a polynomial of degree ``levels`` exactly.
    Affine maps are learned, where the paper's generator predicts them. Inputs should fill [-1, 1].

    Attributes:
        affine: ``A_l`` and ``a_l``, one linear layer a level.
        layers: ``W_l`` and ``b_l``.
        output: linear.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        levels: int = 10,
        slope: float = 0.2,
        output_gain: float = 1.0,
    ) -> None:
        """Makes the levels and a linear output.

        Args:
            levels: products; the degree that the network reaches.
            slope: of the leaky ReLU below zero.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size that is not positive, or a slope outside [0, 1].
        """
        super().__init__()
        if min(input_dimension, output_dimension, width, levels) < 1 or not 0 <= slope <= 1:
            raise UsageError(
                f"PolynomialNetwork needs positive sizes and a slope in [0, 1], got {input_dimension} inputs, "
                f"{output_dimension} outputs, width {width}, {levels} levels, slope {slope}."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.slope = slope
        self.affine = nn.ModuleList(nn.Linear(input_dimension, width) for _ in range(levels))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(levels))
        self.output = nn.Linear(width, output_dimension)
        self._draw(output_gain)

    @torch.no_grad()
    def _draw(self, output_gain: float) -> None:
        """First numbers that keep the mean square of h near 1, whatever the number of levels.

        For inputs uniform in [-1, 1], of mean square 1/3, the factors ``A x + a`` have a mean square of 1 where a
        matrix of d inputs has a variance of 3 / (2 d) and its shift one of 1 / 2.
        """
        gain = (2 / (1 + self.slope**2)) ** 0.5
        for affine, layer in zip(self.affine, self.layers, strict=True):
            affine.weight.normal_(std=(1.5 / self.input_dimension) ** 0.5)
            affine.bias.normal_(std=0.5**0.5)
            layer.weight.normal_(std=gain * layer.in_features**-0.5)
            layer.bias.zero_()
        self.output.weight *= output_gain

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        hidden: Tensor | None = None
        for affine, layer in zip(self.affine, self.layers, strict=True):
            factor = affine(features)
            hidden = functional.leaky_relu(layer(factor if hidden is None else hidden * factor), self.slope)
        return self.output(hidden)


_OPTIONS = {"width": 128, "levels": 8, "slope": 0.2}
POLYNOMIAL = Backbone("polynomial", PolynomialNetwork, _OPTIONS, rate=5e-3, stretched=False)
