"""How the training of a field at one point moves its answers at others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vmap

from onefield.fields.field import Field
from onefield.kernels import use
from onefield.training.field_function import Weights, field_function, weights_of

# Points whose activations are held at once.
_POINTS_AT_ONCE = 2**14


def tangent_kernel(
    field: Field, points: Float[Tensor, "n m d"], counts: Float[Tensor, "m"] | None = None
) -> Float[Tensor, "n n"]:
    """The empirical neural tangent kernel of a field's values, summed over points of groups, float64.

    Entry i, j is the product of the gradients, by all parameters, of the channels' sum over groups i and j, divided by
    the number of channels (Jacot et al. 2018; for several outputs Mohamadi et al. 2023, "pseudo-NTK").

    Args:
        points: of each group as many.
        counts: how often each place within the groups counts; None counts each once.
    """
    function = field_function(field)
    often = torch.ones(points.shape[1]) if counts is None else counts

    def answer(weights: Weights, group: Tensor) -> Tensor:
        found = function(weights, group)
        return often @ found.sum(-1) / found.shape[-1] ** 0.5

    # the plain formulas can be mapped over groups, compiled kernels can't
    with use("reference"):
        chunk = max(1, _POINTS_AT_ONCE // points.shape[1])
        rows = vmap(grad(answer), in_dims=(None, 0), chunk_size=chunk)(weights_of(field), points.detach())
    return sum(row.flatten(1).double() @ row.flatten(1).double().T for row in rows.values())
