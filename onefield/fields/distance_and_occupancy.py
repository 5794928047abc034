"""A distance and an occupancy of the same shape, side by side.

Source: Lyu et al., "Learning a Room with the Occ-SDF Hybrid", ICCV 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.section_occupancy import POINT_SECTION, occupied_density
from onefield.fields.section_opacity import AnswersSections
from onefield.fields.wrappers import Wrapper, replaced
from onefield.types import Sample


@final
class DistanceAndOccupancy(Wrapper):
    """A field whose distance has a law of density already, and whose occupancy is looked after, too.

    Along rays the density is that of the distance. Points by themselves have the larger of both, so that samplers look
    where either of the two sees something: an occupancy can find what is thin or small, and bring back what the
    distance has lost, only where it is asked.
    """

    def __init__(self, inner: Field) -> None:
        """Wraps ``inner``.

        Raises:
            UsageError: an inner field without density or occupancy.
        """
        missing = {"density", "occupancy"} - inner.provides
        if missing:
            raise UsageError(
                f"DistanceAndOccupancy needs a field of density and occupancy; {type(inner).__name__} has no "
                f"{' and no '.join(sorted(missing))}."
            )
        super().__init__(inner, inner.domain, inner.provides)

    def query_sections(
        self,
        starts: Float[Tensor, "n 3"],
        ends: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
        want: Iterable[str],
    ) -> Sample:
        """See `AnswersSections` of section_opacity.py; by the law of the distance."""
        if isinstance(self.inner, AnswersSections):
            return self.inner.query_sections(starts, ends, directions, want)
        return self.inner.query((starts + ends) / 2, directions=directions, want=want)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        asked = want | ({"occupancy"} if "density" in want else frozenset())
        sample = self.inner.query(points, directions=directions, time=time, want=asked)
        if "density" not in want:
            return sample
        solid = occupied_density(sample.occupancy, POINT_SECTION * max(self.domain.extent))
        return replaced(sample, want, {"density": torch.maximum(sample.density, solid)})
