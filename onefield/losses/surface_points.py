"""Distances learned from points of the surface alone (Sitzmann et al. 2020, eq. 6)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def off_surface(distances: Float[Tensor, "*b"], length: float) -> Float[Tensor, ""]:
    """Mean of ``exp(-|distance| / length)``: keeps a distance from being 0 where there are no points.

    Args:
        distances: at points spread over the domain, nearly none of them on the surface.
        length: of the fall, in the distances' unit; Sitzmann et al. take a hundredth of half the domain's side.
    """
    return torch.exp(-distances.abs() / length).mean()


def normal_alignment(gradients: Float[Tensor, "*b 3"], normals: Float[Tensor, "*b 3"]) -> Float[Tensor, ""]:
    """Mean of 1 less the cosine between gradients of a distance and outward unit normals: 0 where they agree."""
    return (1 - torch.nn.functional.cosine_similarity(gradients, normals, dim=-1)).mean()
