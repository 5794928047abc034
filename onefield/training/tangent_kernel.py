"""How the training of a field at one point moves its answers at others."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vmap

from onefield.fields.field import Field
from onefield.kernels import use
from onefield.training.field_function import Weights, field_function, weights_of


def tangent_kernel(field: Field, points: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """The empirical neural tangent kernel of a field's values, float64.

    Entry i, j is the product of the gradients, by all parameters, of the channels' sum at points i and j, divided by
    the number of channels (Jacot et al. 2018; for several outputs Mohamadi et al. 2023, "pseudo-NTK").
    """
    function = field_function(field)

    def answer(weights: Weights, point: Tensor) -> Tensor:
        found = function(weights, point[None])
        return found.sum() / found.shape[-1] ** 0.5

    # the plain formulas can be mapped over points, compiled kernels can't
    with use("reference"):
        rows = vmap(grad(answer), in_dims=(None, 0))(weights_of(field), points.detach())
    return sum(row.flatten(1).double() @ row.flatten(1).double().T for row in rows.values())
