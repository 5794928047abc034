"""Sines whose frequency grows with their argument."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class _StretchedSine(torch.autograd.Function):
    """``sin(v (a |v| + 1))`` with the slope ``cos(v (a |v| + 1)) (b |v| + 1)``, which is its own where b is 2 a.

    That takes fewer passes over memory than the chain rule operation by operation, and can itself be differentiated.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Float[Tensor, "*b"], stretch: float, growth: float) -> Float[Tensor, "*b"]:
        return torch.sin(torch.addcmul(values, values, values.abs(), value=stretch))

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        values, *ctx.factors = inputs
        ctx.save_for_backward(values)
        ctx.save_for_forward(values)

    @staticmethod
    def backward(ctx, gradient: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b"], None, None]:
        return gradient * _slope(*ctx.saved_tensors, *ctx.factors), None, None

    @staticmethod
    def jvp(ctx, tangent: Float[Tensor, "*b"], *_: None) -> Float[Tensor, "*b"]:
        return tangent * _slope(*ctx.saved_tensors, *ctx.factors)


def _slope(values: Float[Tensor, "*b"], stretch: float, growth: float) -> Float[Tensor, "*b"]:
    size = values.abs()
    cosine = torch.addcmul(values, values, size, value=stretch).cos_()
    return torch.addcmul(cosine, cosine, size, value=growth)


class Finer(ActivatedNetwork):
    """Layers ``sin(w0 (|z| + 1) z)`` with ``z = W x + b`` (Liu et al., "FINER", CVPR 2024, eq. 5).

    Weights begin as a `Siren`'s. Biases of the first layer spread over +-``first_bias``: each unit then works at
    another |z| and so at another frequency, which is how the band of the network is chosen. Inputs should fill [-1, 1].
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 3,
        w0: float = 30.0,
        first_bias: float | None = None,
        output_gain: float = 1.0,
        published_gradient: bool = False,
    ) -> None:
        """Makes one input layer, ``hidden_layers`` more, and a linear output.

        Args:
            first_bias: None draws the first biases as all others.
            published_gradient: as the authors' program, which differentiates as if |z| + 1 were a constant: then
                gradients by the points, and so normals, are not the function's own.

        Raises:
            UsageError: a size or frequency that is not positive.
        """
        self._w0 = w0
        self._first_bias = first_bias
        self.published_gradient = published_gradient
        super().__init__(input_dimension, output_dimension, width, hidden_layers, w0, output_gain=output_gain)

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return _StretchedSine.apply(values, 1 / self._w0, (1 if self.published_gradient else 2) / self._w0)

    def weight_bound(self, layer: int, inputs: int) -> float:
        return 1 / inputs if layer == 0 else (6 / inputs) ** 0.5 / self._w0

    def bias_bound(self, layer: int, inputs: int) -> float:
        if layer == 0 and self._first_bias is not None:
            return self._first_bias
        return super().bias_bound(layer, inputs)


FINER = Backbone("finer", Finer, {"width": 256, "hidden_layers": 3, "w0": 30.0})
