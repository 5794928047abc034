"""Density from channel 0 of the features."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.heads.head import Head

# Beyond this exponent the backward pass takes the slope at it, or one step would throw the parameters away
# (instant-ngp and its successors agree on the value; exp(15) is opaque at any step length in use).
_BACKWARD_LIMIT = 15.0
# Keeps the value finite in float32 (exp(88) overflows), also after a multiplication with a long interval.
_FORWARD_LIMIT = 80.0


class _TruncatedExponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx, exponent: Tensor) -> Tensor:
        ctx.save_for_backward(exponent)
        return torch.exp(exponent.clamp(max=_FORWARD_LIMIT))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (exponent,) = ctx.saved_tensors
        return gradient * torch.exp(exponent.clamp(max=_BACKWARD_LIMIT))


def truncated_exponential(exponent: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """``exp(x)`` whose derivative is that at ``min(x, 15)``; finite in float32 for every finite input."""
    return _TruncatedExponential.apply(exponent)


class ExponentialDensity(Head):
    """Density ``exp(f0 + shift)`` per world unit, with a truncated derivative (instant-ngp)."""

    provides = "density"

    def __init__(self, shift: float = -1.0) -> None:
        """With features near 0 the density starts at ``exp(shift)``."""
        super().__init__()
        self.shift = shift

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n"]:
        return truncated_exponential(features[:, 0] + self.shift)


class SoftplusDensity(Head):
    """Density ``softplus(f0 + b) / reference_length`` per world unit: the post-activation of DVGO (Sun et al. 2022).

    The raw value is interpolated first and activated afterwards, so that a sharp surface fits inside one grid cell.
    """

    provides = "density"

    def __init__(self, initial_opacity: float, reference_length: float) -> None:
        """Chooses ``b = log(1 / (1 - initial_opacity) - 1)`` (DVGO, eq. 9).

        Args:
            initial_opacity: opacity in (0, 1) of an interval of ``reference_length`` where features are 0.
            reference_length: world units, usually the edge of a voxel at the first resolution.

        Raises:
            UsageError: a value out of range.
        """
        super().__init__()
        if not 0 < initial_opacity < 1 or reference_length <= 0:
            raise UsageError(
                f"SoftplusDensity needs an opacity in (0, 1) and a positive length, got {initial_opacity} and "
                f"{reference_length}."
            )
        self.reference_length = reference_length
        # log1p and expm1 keep all digits for opacities like 1e-6
        self.shift = math.log(math.expm1(-math.log1p(-initial_opacity)))

    def forward(
        self,
        features: Float[Tensor, "n f"],
        directions: Float[Tensor, "n 3"] | None = None,
        points: Float[Tensor, "n d"] | None = None,
    ) -> Float[Tensor, "n"]:
        return functional.softplus(features[:, 0] + self.shift) / self.reference_length
