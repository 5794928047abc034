"""By how much a function of place and time breaks the law that its level sets should move by.

A level set moves along its normal as fast as the function falls there over time, by its slope. Source: Novello et al.,
"Neural implicit surface evolution" (2023), section 4; the equations are those of Osher and Sethian (1988).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def transport_residual(
    rates: Float[Tensor, "n"], gradients: Float[Tensor, "n 3"], velocities: Float[Tensor, "n 3"]
) -> Float[Tensor, "n"]:
    """``f_t + v . grad f``: 0 where level sets are carried along.

    Args:
        rates: derivatives by time.
        gradients: by place.
        velocities: of the medium.
    """
    return rates + (velocities * gradients).sum(-1)


def mean_curvature_residual(
    rates: Float[Tensor, "n"], gradients: Float[Tensor, "n 3"], hessians: Float[Tensor, "n 3 3"], strength: float
) -> Float[Tensor, "n"]:
    """``f_t - strength |grad f| div(grad f / |grad f|)``: 0 where surfaces shrink by their mean curvature.

    The divergence is the sum of the principal curvatures, so that a sphere's radius r falls by ``2 strength / r``.
    """
    normals = torch.nn.functional.normalize(gradients, dim=-1)
    across = torch.einsum("ni,nij,nj->n", normals, hessians, normals)
    return rates - strength * (hessians.diagonal(dim1=-2, dim2=-1).sum(-1) - across)


def morphing_residual(
    rates: Float[Tensor, "n"],
    gradients: Float[Tensor, "n 3"],
    distances: Float[Tensor, "n"],
    targets: Float[Tensor, "n"],
    left: Float[Tensor, "n"],
    reach: float,
) -> Float[Tensor, "n"]:
    """``left f_t - exp(-(f / reach)^2) (target - f) |grad f|``: 0 where surfaces reach another one in time.

    Novello et al. have no ``left`` (1), so that surfaces near the other one for ever; with it a sphere's radius goes
    evenly to a concentric sphere's.

    Args:
        distances, targets: of the function and of the other surface.
        left: time until the other surface should be reached.
        reach: distance from which on level sets hardly move; they are too far from the surface to matter.
    """
    return left * rates - torch.exp(-(distances / reach).square()) * (targets - distances) * gradients.norm(dim=-1)
