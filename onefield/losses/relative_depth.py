"""Depth of rays against depth that is known up to a scale and a shift of each image.

Source: Ranftl et al., "Towards Robust Monocular Depth Estimation" (2022), equation 4; for volume rendering Yu et al.,
"MonoSDF", NeurIPS 2022, section 3.3.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm

# A scale and a shift pass through any two points; from so many rays of one image on, what is left says something.
FEWEST_RAYS = 8
# Images whose rendered depths vary by less than this, as a share of their mean square, have no scale to be found: the
# rest of float32 is rounding.
_LEAST_SPREAD = 1e-5


def relative_depth_error(
    depth: Float[Tensor, "R"], target: Float[Tensor, "R"], images: Int[Tensor, "R"], known: Bool[Tensor, "R"]
) -> Float[Tensor, ""]:
    """Mean over known rays of the squared difference that the best scale and shift of each image leave.

    The map from depth to target is found by least squares in closed form, and differentiated along. The differences
    are measured in standard deviations of the image's targets, so that the unit of the targets doesn't matter, and
    1 is what a constant depth would leave.

    Args:
        depth: rendered, along the optical axis.
        target: likewise, in any unit and with any shift.
        images: the image that each ray is of.
        known: which rays count, if their image has `FEWEST_RAYS` of them.
    """
    _, image = torch.unique(images, return_inverse=True)
    count = int(image.max()) + 1 if len(image) else 0
    weight = known.to(depth.dtype)
    given = torch.where(known, target, 0.0)

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(count).index_add(0, image, values * weight)
        return total / weight.new_zeros(count).index_add(0, image, weight).clamp(min=1)

    centered, wanted = depth - mean(depth)[image], given - mean(given)[image]
    spread, spread_wanted = mean(centered.square()), mean(wanted.square())
    rays = weight.new_zeros(count).index_add(0, image, weight)
    tells = (rays >= FEWEST_RAYS) & (spread > _LEAST_SPREAD * mean(depth.square())) & (spread_wanted > 0)
    scale = mean(centered * wanted) / torch.where(tells, spread, 1.0)
    left = (wanted - scale[image] * centered).square() / torch.where(tells, spread_wanted, 1.0)[image]
    counted = known & tells[image]
    return torch.where(counted, left, 0.0).sum() / counted.sum().clamp(min=1)


def relative_depth_term(weight: float = 0.1) -> LossTerm:
    """`relative_depth_error` where the data knows depth and the ray meets anything; 0 where the data has none."""

    def evaluate(evidence: Evidence) -> Tensor:
        rendering, rays = evidence.rendering, evidence.rays
        if rendering is None or rays is None or evidence.target_depth is None or evidence.cosines is None:
            return evidence.prediction.new_zeros(())
        known = torch.isfinite(evidence.target_depth) & (rendering.opacity.detach() > 0)
        depth, target = rendering.depth * evidence.cosines, evidence.target_depth * evidence.cosines
        return relative_depth_error(depth, target, rays.camera_indices, known)

    return LossTerm("relative_depth", weight, evaluate)
