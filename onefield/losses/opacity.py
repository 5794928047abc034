"""Losses on the accumulated opacity of rays."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm

# Opacities are held this far from 0 and 1 in logarithms, as in DVGO: bounds one ray's loss by 14 nats.
_MARGIN = 1e-6

# Of a photometric loss of about 1e-2, opacity that must not be there stands out; as for NeuS's masks.
CARVE_WEIGHT = 0.1


def opacity_entropy(opacity: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean binary entropy in nats: 0 where rays see either a surface or the background, log 2 at opacity 1/2."""
    held = opacity.clamp(_MARGIN, 1 - _MARGIN)
    return -(held * torch.log(held) + (1 - held) * torch.log1p(-held)).mean()


def mask_error(opacity: Float[Tensor, "*b"], target: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean binary cross entropy in nats of the opacity against the true one, both in [0, 1]."""
    held = opacity.clamp(_MARGIN, 1 - _MARGIN)
    return -(target * torch.log(held) + (1 - target) * torch.log1p(-held)).mean()


def opacity_entropy_term(weight: float = 1e-3) -> LossTerm:
    """Pushes each ray's opacity to 0 or 1 (DVGO's background entropy; it uses 1e-2 coarse and 1e-3 fine)."""

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.rendering is None:
            return evidence.prediction.new_zeros(())
        return opacity_entropy(evidence.rendering.opacity)

    return LossTerm("opacity_entropy", weight, evaluate)


def mask_term(weight: float = 0.1) -> LossTerm:
    """Opacity against the data's alpha or masks; 0 where the data has none. NeuS uses the weight 0.1."""

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.rendering is None or evidence.target_opacity is None:
            return evidence.prediction.new_zeros(())
        return mask_error(evidence.rendering.opacity, evidence.target_opacity)

    return LossTerm("mask", weight, evaluate)


def silhouette_term(weight: float = 1.0) -> LossTerm:
    """Mean absolute difference of opacity and the data's alpha: for edges that pixels cover in part, which it moves.

    0 where the data has no alpha.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.rendering is None or evidence.target_opacity is None:
            return evidence.prediction.new_zeros(())
        return (evidence.rendering.opacity - evidence.target_opacity).abs().mean()

    return LossTerm("silhouette", weight, evaluate)


def carve_error(opacity: Float[Tensor, "*b"], target: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean of ``-log(1 - opacity)`` in nats over all rays, where only those whose target is 0 count.

    What is there must be empty; about the rest nothing is said.
    """
    held = opacity.clamp(max=1 - _MARGIN)
    return torch.where(target == 0, -torch.log1p(-held), 0.0).mean()


def carve_term(weight: float = CARVE_WEIGHT) -> LossTerm:
    """Empties the rays that the data's alpha or masks call empty; 0 where the data has none."""

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.rendering is None or evidence.target_opacity is None:
            return evidence.prediction.new_zeros(())
        return carve_error(evidence.rendering.opacity, evidence.target_opacity)

    return LossTerm("carve", weight, evaluate)
