"""Network whose first layer learns its activation as Chebyshev polynomials."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.network import Network


class ChebyshevNetwork(Network):
    """One layer of learned activations, then ReLU layers of low rank that it multiplies.

    SL2A-INR (Heidari et al., "SL2A-INR: Single-Layer Learnable Activation for Implicit Neural Representation", ICCV
    2025): the first layer sums ``c_oik T_k(tanh(x_i))`` over inputs and degrees and normalises the sum to psi; each of
    the next layers is ``relu(A B (psi h) + b)``, where h is psi before the first of them, and the output is linear in
    ``psi h``. Polynomials are summed by their recurrence, which has derivatives of every order at the ends of [-1, 1].

    Attributes:
        coefficients: ``[inputs, width, degree + 1]``.
        norm: of the first layer.
        factors: the pairs B, A of each low-rank layer.
        biases: one vector a low-rank layer.
        output: linear.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        degree: int = 256,
        rank: int = 128,
        output_gain: float = 1.0,
    ) -> None:
        """Makes the learned layer, ``hidden_layers`` of low rank, and a linear output.

        Args:
            degree: of the polynomials: how fine the detail that the first layer can show.
            rank: of the matrices of the next layers, at most ``width``.
            output_gain: factor on the last layer's first weights.

        Raises:
            UsageError: a size that is not positive, or a rank above the width.
        """
        super().__init__()
        sizes = (input_dimension, output_dimension, width, hidden_layers, degree, rank)
        if min(sizes) < 1 or rank > width:
            raise UsageError(
                f"ChebyshevNetwork needs positive sizes and a rank up to its width, got {input_dimension} inputs, "
                f"{output_dimension} outputs, width {width}, {hidden_layers} hidden layers, degree {degree} and rank "
                f"{rank}."
            )
        self.input_dimension = input_dimension
        self.output_dimension = output_dimension
        self.coefficients = nn.Parameter(torch.empty(input_dimension, width, degree + 1))
        nn.init.xavier_uniform_(self.coefficients)
        self.norm = nn.LayerNorm(width)
        self.factors = nn.ParameterList()
        self.biases = nn.ParameterList()
        for _ in range(hidden_layers):
            # uniform as PyTorch's linear layers, for each of the two matrices
            for outputs, inputs in ((rank, width), (width, rank)):
                self.factors.append(nn.Parameter(torch.empty(outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5)))
            self.biases.append(nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5)))
        self.output = nn.Linear(width, output_dimension)
        with torch.no_grad():
            self.output.weight *= output_gain

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        powers = _polynomials(torch.tanh(features), self.coefficients.shape[2] - 1).flatten(1)
        scale = self.norm(powers @ self.coefficients.mT.flatten(0, 1))
        hidden = scale
        for layer, bias in enumerate(self.biases):
            narrow = functional.linear(scale * hidden, self.factors[2 * layer])
            hidden = torch.relu(functional.linear(narrow, self.factors[2 * layer + 1], bias))
        return self.output(scale * hidden)


def _polynomials(x: Float[Tensor, "n f"], degree: int) -> Float[Tensor, "n f k"]:
    """``T_0(x) ... T_degree(x)``."""
    found = [torch.ones_like(x), x]
    for _ in range(degree - 1):
        found.append(2 * x * found[-1] - found[-2])
    return torch.stack(found, dim=-1)


_OPTIONS = {"width": 256, "hidden_layers": 3, "degree": 256, "rank": 128}
CHEBYSHEV = Backbone("chebyshev", ChebyshevNetwork, _OPTIONS, stretched=False, growing=("width", "rank", "degree"))
