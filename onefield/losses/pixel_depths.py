"""What holds Gaussians of pixels together: smooth depth within segments, and one place for what several views show.

Source: Paliwal et al., "CoherentGS" (2024), section 3.4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.pixel_gaussians import PixelGaussians
from onefield.losses.term import Evidence, LossTerm


def depth_variation(field: PixelGaussians, means: Float[Tensor, "P 3"]) -> Float[Tensor, ""]:
    """Mean total variation of ``1 / (depth + 1)`` between neighbouring pixels of one segment.

    Args:
        means: of the field's Gaussians.
    """
    nearness = field.maps(1 / (field.depths_of(means) + 1))
    segments = field.maps(field.segments.to(means))
    total, count = means.new_zeros(()), 0
    for values, labels in zip(nearness, segments, strict=True):
        for axis in (0, 1):
            # where no Gaussian stands the label is NaN, which equals nothing
            together = torch.diff(labels, dim=axis) == 0
            total = total + torch.diff(values, dim=axis)[together].abs().sum()
            count += values.numel()
    return total / count


def match_distance(field: PixelGaussians, means: Float[Tensor, "P 3"]) -> Float[Tensor, ""]:
    """Mean L1 distance in space between Gaussians that show one point, and of those of known depth from their places.

    It is 0 where nothing is known.

    Args:
        means: of the field's Gaussians.
    """
    depths, matches = field.depths_of(means), field.matches
    partners = matches.partners
    seen = field.origins[field.views[partners]] + depths[partners, None] * matches.directions
    apart = (means[matches.rows] - seen).abs().sum()
    rows = matches.known_rows
    off = (depths[rows] - matches.known_depths).abs() * field.directions[rows].abs().sum(-1)
    return (apart + off.sum()) / max(len(matches.rows) + len(rows), 1)


def depth_variation_term(weight: float = 5.0) -> LossTerm:
    """`depth_variation` of the field in training."""
    return LossTerm("depth_variation", weight, lambda evidence: depth_variation(*_parts(evidence)))


def match_distance_term(weight: float = 0.1) -> LossTerm:
    """`match_distance` of the field in training."""
    return LossTerm("match_distance", weight, lambda evidence: match_distance(*_parts(evidence)))


def _parts(evidence: Evidence) -> tuple[PixelGaussians, Tensor]:
    """The field and its middles as they were splatted, so that the decoders run once a step."""
    field = evidence.field
    assert isinstance(field, PixelGaussians)
    splats = None if evidence.rendering is None else evidence.rendering.splats
    return field, field.gaussians().means if splats is None else splats.means
