"""The record by which training weighs losses and regularisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from onefield.fields.field import Field
from onefield.types import Rays, Rendering, Sample

Photographed = Callable[[Float[Tensor, "R 3"], Float[Tensor, "R"]], Float[Tensor, "R 3"]]


def _unchanged(colors: Tensor, opacity: Tensor) -> Tensor:
    return colors


@dataclass(frozen=True)
class Evidence:
    """All that a loss may look at in one step: what was predicted, what is true, and by which field.

    Attributes:
        prediction: rendered or queried colours or values.
        target: what they should be, same shape and colour space.
        field: the field in training.
        rendering, rays: where the prediction came from a renderer.
        sample, points: where the field was asked itself.
        target_opacity: true opacity of each ray in [0, 1], where the data has alpha or masks.
        target_depth: true distance along each ray in world units, NaN where unknown.
        target_normal: true unit normal of what each ray sees, world axes, NaN where unknown.
        cosines: of the angles between the rays and their cameras' optical axes, where ``target_depth`` is given.
        progress: share of the run that is done, for what begins late.
        as_photographed: from other colours of the rays and their opacity to what the rays' photos would show, by what
            was learned of each photo's exposure; ``prediction`` has been through it.
    """

    prediction: Float[Tensor, "*b c"]
    target: Float[Tensor, "*b c"]
    field: Field
    rendering: Rendering | None = None
    rays: Rays | None = None
    sample: Sample | None = None
    points: Tensor | None = None
    target_opacity: Float[Tensor, "R"] | None = None
    target_depth: Float[Tensor, "R"] | None = None
    target_normal: Float[Tensor, "R 3"] | None = None
    cosines: Float[Tensor, "R"] | None = None
    progress: float = 1.0
    as_photographed: Photographed = _unchanged


@dataclass(frozen=True)
class LossTerm:
    """One weighted summand of the objective.

    Attributes:
        name: as written to metrics.
        weight: factor in the sum.
        evaluate: pure function of the evidence to a scalar.
    """

    name: str
    weight: float
    evaluate: Callable[[Evidence], Float[Tensor, ""]]
