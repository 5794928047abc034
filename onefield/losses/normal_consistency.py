"""Normals of what is splatted against the slope of the depth that it shows."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.cameras import Picture
from onefield.losses.term import Evidence, LossTerm

BEGIN = 7000 / 30000
"""Share of the run after which it counts (the code published with the paper)."""


def depth_normals(picture: Picture, distance: Float[Tensor, "R"]) -> Float[Tensor, "h w 3"]:
    """Unit normals, facing the camera, of the surface that distances along the rays of a picture describe.

    By central differences of the points, so all pixels but those at the border have one.
    """
    height, width = picture.shape
    points = (picture.origins + picture.directions * distance[:, None]).reshape(height, width, 3)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    return torch.nn.functional.normalize(torch.linalg.cross(down, right), dim=-1)


def normal_inconsistency(
    picture: Picture, distance: Float[Tensor, "R"], opacity: Float[Tensor, "R"], normals: Float[Tensor, "R 3"]
) -> Float[Tensor, ""]:
    """Mean over pixels of ``opacity sum_i w_i (1 - n_i . N)``, N the normal of the rendered depth.

    Huang et al., "2D Gaussian splatting" (2024), eq. 14; opacity gets no gradient, as in their code. Pixels next to one
    that shows nothing have no N and count as 0.

    Args:
        distance: mean distance along each ray, world units.
        opacity: in [0, 1].
        normals: sums of ``w_i n_i``, facing the camera.
    """
    height, width = picture.shape
    weights = opacity.detach().reshape(height, width)
    inner = weights[1:-1, 1:-1]
    agreement = (normals.reshape(height, width, 3)[1:-1, 1:-1] * depth_normals(picture, distance)).sum(-1)
    return torch.where(_surrounded(weights > 0), inner * (inner - agreement), 0.0).mean()


def _surrounded(shows: Bool[Tensor, "H W"]) -> Bool[Tensor, "h w"]:
    """Which pixels show something, and their four neighbours, too."""
    beside = shows[1:-1, 2:] & shows[1:-1, :-2] & shows[2:, 1:-1] & shows[:-2, 1:-1]
    return shows[1:-1, 1:-1] & beside


def normal_consistency_term(weight: float = 0.05, begin: float = BEGIN) -> LossTerm:
    """`normal_inconsistency` of what was splatted; 0 before it begins, and for renderings without.

    Args:
        weight: the paper uses 0.05.
        begin: share of the run.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        rendering, picture = evidence.rendering, evidence.rays
        normals = None if rendering is None or rendering.splats is None else rendering.splats.normals
        if evidence.progress < begin or normals is None or rendering.depth is None or not isinstance(picture, Picture):
            return evidence.prediction.new_zeros(())
        if min(picture.shape) < 3:
            return evidence.prediction.new_zeros(())
        return normal_inconsistency(picture, rendering.depth, rendering.opacity, normals)

    return LossTerm("normal_consistency", weight, evaluate)
