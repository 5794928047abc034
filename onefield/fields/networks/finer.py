"""Sines whose frequency grows with their argument."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class _StretchedSine(torch.autograd.Function):
    """``sin(v (|v| / w0 + 1))``.

    Its slope is ``cos(v (|v| / w0 + 1)) (2 |v| / w0 + 1)``, which takes fewer passes over memory than the chain rule
    operation by operation, and can itself be differentiated.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Float[Tensor, "*b"], w0: float) -> Float[Tensor, "*b"]:
        return torch.sin(torch.addcmul(values, values, values.abs(), value=1 / w0))

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, float], output: Tensor) -> None:
        values, ctx.w0 = inputs
        ctx.save_for_backward(values)
        ctx.save_for_forward(values)

    @staticmethod
    def backward(ctx, gradient: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b"], None]:
        return gradient * _slope(*ctx.saved_tensors, ctx.w0), None

    @staticmethod
    def jvp(ctx, tangent: Float[Tensor, "*b"], _: None) -> Float[Tensor, "*b"]:
        return tangent * _slope(*ctx.saved_tensors, ctx.w0)


def _slope(values: Float[Tensor, "*b"], w0: float) -> Float[Tensor, "*b"]:
    size = values.abs()
    cosine = torch.addcmul(values, values, size, value=1 / w0).cos_()
    return torch.addcmul(cosine, cosine, size, value=2 / w0)


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
        if self.published_gradient:
            return torch.sin(values * values.detach().abs().div_(self._w0).add_(1))
        return _StretchedSine.apply(values, self._w0)

    def weight_bound(self, layer: int, inputs: int) -> float:
        return 1 / inputs if layer == 0 else (6 / inputs) ** 0.5 / self._w0

    def bias_bound(self, layer: int, inputs: int) -> float:
        if layer == 0 and self._first_bias is not None:
            return self._first_bias
        return super().bias_bound(layer, inputs)


FINER = Backbone("finer", Finer, {"width": 256, "hidden_layers": 3, "w0": 30.0})
