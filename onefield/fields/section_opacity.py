"""The law of NeuS: how much light a section of a ray loses, from a signed distance at its two ends.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering", NeurIPS 2021, equations 10 to 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.wrappers import Wrapper, replaced
from onefield.types import Sample

# The inverse deviation is the exponential of so many times its parameter (NeuS, section C of the supplement): rates
# that suit weights then move it by some percent a step, whether the surface is still a fog or already sharp.
_EXPONENT = 10.0


@runtime_checkable
class AnswersSections(Protocol):
    """A field whose density over a section of a ray follows from more than the section's middle."""

    def query_sections(
        self,
        starts: Float[Tensor, "n 3"],
        ends: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
        want: Iterable[str],
    ) -> Sample:
        """Mean density over each section, so that ``1 - exp(-density length)`` is its opacity; else as at its middle.

        Args:
            starts, ends: of sections, world points; those without length have no density. Where a section ends at the
                very point at which the next one starts, the field is asked there once.
            directions: unit vectors from start to end.
            want: as for `Field.query`.
        """


def section_density(
    first: Float[Tensor, "*b"],
    last: Float[Tensor, "*b"],
    lengths: Float[Tensor, "*b"],
    sharpness: Float[Tensor, ""],
    certainty: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "*b"]:
    """Mean density per world unit with which sections have the opacity of NeuS.

    With the distribution function S of a logistic law of inverse deviation s, ``alpha = max(1 - S(last) / S(first),
    0)`` (eq. 13), and ``1 - exp(-density length) = alpha`` gives ``density length = softplus(-s last) - softplus(-s
    first)`` without a division that could fail.

    Args:
        first, last: signed distances at both ends, world units.
        lengths: of the sections, world units; one without length has no density.
        sharpness: s, per world unit.
        certainty: r in [0, 1]. At 1 the distances count as they are. Below, the slope along the ray is taken for
            ``-(relu(1/2 - cos/2) (1 - r) + relu(-cos) r)`` with the true slope cos, so that at the start of training,
            when slopes mean little, sections that leave the surface are not without opacity and gradient (the
            annealing of NeuS's code).
    """
    # sections without length are rays that miss a sampler's box
    divisor = torch.where(lengths > 0, lengths, torch.inf)
    slope = (last - first) / divisor
    half = (relu(0.5 - 0.5 * slope) * (1 - certainty) + relu(-slope) * certainty) * lengths / 2
    middle = (first + last) / 2
    return (softplus(-sharpness * (middle - half)) - softplus(-sharpness * (middle + half))) / divisor


@final
class DistanceAsOpacity(Wrapper):
    """A signed distance field whose opacity along rays follows NeuS, with a learned inverse deviation.

    The weight of a section is largest where it holds the surface, whatever the angle at which a ray meets it, which no
    law of density at points has (theorem 1 of the paper). Points still have the density of rays that meet the surface
    head-on (eq. 10), ``s sigmoid(-s d)``, for samplers and whoever else asks without a ray.
    """

    def __init__(self, inner: Field, deviation: float = 0.05) -> None:
        """Wraps ``inner``.

        Args:
            deviation: first ``1 / s``, world units (NeuS: 0.05 in a ball of radius 1).

        Raises:
            UsageError: an inner field without distance, or a deviation that is not positive.
        """
        if "distance" not in inner.provides:
            raise UsageError(f"DistanceAsOpacity needs a field of distances; {type(inner).__name__} has none.")
        if deviation <= 0:
            raise UsageError(f"DistanceAsOpacity needs a deviation above 0, got {deviation}.")
        super().__init__(inner, inner.domain, inner.provides | {"density"})
        self.log_sharpness = nn.Parameter(torch.tensor(-math.log(deviation) / _EXPONENT))
        self.register_buffer("certainty", torch.ones(()))

    @property
    def sharpness(self) -> Float[Tensor, ""]:
        """Inverse deviation s now, per world unit."""
        return torch.exp(_EXPONENT * self.log_sharpness)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the inner field, and ``density``: the inverse deviation."""
        return {**self.inner.parameter_groups(), "density": [self.log_sharpness]}

    def query_sections(
        self,
        starts: Float[Tensor, "n 3"],
        ends: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
        want: Iterable[str],
    ) -> Sample:
        """See `AnswersSections`; lengths are those along the directions."""
        wanted = frozenset(want)
        rest = wanted - {"density"}
        middles = (starts + ends) / 2
        sample = self.inner.query(middles, directions=directions, want=rest) if rest else Sample()
        if "density" not in wanted:
            return sample
        first, last = self._at_ends(starts, ends)
        lengths = ((ends - starts) * directions).sum(-1)
        sharpness = self.sharpness.to(first.dtype)
        density = section_density(first, last, lengths, sharpness, self.certainty.to(first.dtype))
        return replaced(sample, wanted, {"density": density})

    def _at_ends(self, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Distances at both ends."""
        count = len(starts)
        alone = ~_goes_on(starts, ends)
        places = torch.cat([starts, ends[alone]])
        distance = self.inner.query(places, want=("distance",)).distance
        following = torch.arange(1, count + 1, device=starts.device)
        following[alone] = torch.arange(count, len(places), device=starts.device)
        return distance[:count], distance[following]

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        asked = want - {"density"} | ({"distance"} if "density" in want else frozenset())
        sample = self.inner.query(points, directions=directions, time=time, want=asked)
        if "density" not in want:
            return sample
        sharpness = self.sharpness.to(sample.distance.dtype)
        return replaced(sample, want, {"density": sharpness * torch.sigmoid(-sharpness * sample.distance)})


def _goes_on(starts: Tensor, ends: Tensor) -> Bool[Tensor, "n"]:
    """Whether the next section starts where this one ends."""
    same = (starts[1:] == ends[:-1]).all(-1)
    return torch.cat([same, same.new_zeros(min(1, len(starts)))])
