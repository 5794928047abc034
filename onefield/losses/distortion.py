"""Weights of a ray gathered in one short interval."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.fields.field import Field
from onefield.fields.wrappers import ContractedField
from onefield.kernels.distortion import distortion
from onefield.losses.term import Evidence, LossTerm


def normalized_distance(distance: Float[Tensor, "*b"], field: Field) -> Float[Tensor, "*b"]:
    """Distance along rays as a number from 0 to 1: in parts of the domain's diagonal, or in unbounded space
    ``t / (1 + t)``, linear near the region of interest and disparity beyond (mip-NeRF 360, section 4)."""
    if isinstance(field, ContractedField):
        return distance / (1 + distance)
    return distance / field.domain.diagonal


def distortion_term(weight: float = 0.01) -> LossTerm:
    """Mean over rays of mip-NeRF 360's distortion (eq. 15), against floating matter.

    Args:
        weight: the paper uses 0.01 in unbounded scenes.

    Renderings without samples give 0.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if rendering is None or rendering.samples is None or rendering.weights is None or len(rendering.samples) == 0:
            return evidence.prediction.new_zeros(())
        samples = rendering.samples
        starts, ends = (normalized_distance(t, evidence.field) for t in (samples.starts, samples.ends))
        return distortion(rendering.weights, starts, ends, samples.offsets).mean()

    return LossTerm("distortion", weight, evaluate)
