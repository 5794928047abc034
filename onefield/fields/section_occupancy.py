"""Occupancy as opacity: a section of a ray loses the share of light that the occupancy at its middle says.

Source: Oechsle et al., "UNISURF", ICCV 2021, as the second branch of Lyu et al., "Learning a Room with the
Occ-SDF Hybrid", ICCV 2023, uses it: weights ``o_i prod_{j < i} (1 - o_j)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.wrappers import Wrapper, replaced
from onefield.types import Sample

# A point's density is that of a section this part of the longest side of the domain long: about what a hundred and
# some samples a ray make of it.
POINT_SECTION = 1 / 128
# More occupied than this lets less light through than 8 bits can show, and the logarithm must stay finite.
_MOST_OCCUPIED = 1 - 2**-20


def occupied_density(occupancy: Float[Tensor, "*b"], lengths: float | Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Density per world unit with which a section's opacity ``1 - exp(-density length)`` is its occupancy.

    Args:
        occupancy: in [0, 1].
        lengths: of the sections, world units; one without length has no density.
    """
    held = torch.as_tensor(lengths, dtype=occupancy.dtype, device=occupancy.device)
    # sections without length are rays that miss a sampler's box
    return -torch.log1p(-occupancy.clamp(max=_MOST_OCCUPIED)) / torch.where(held > 0, held, torch.inf)


@final
class OccupancyAsOpacity(Wrapper):
    """A field of occupancy whose opacity along rays is the occupancy itself, however long a section is.

    Unlike the densities that follow from a distance, a thin wall is as opaque as it is occupied. A point by itself has
    the density of a section of 1/128 of the domain's longest side, for samplers and whoever else asks without a ray.
    """

    def __init__(self, inner: Field) -> None:
        """Wraps ``inner``.

        Raises:
            UsageError: an inner field without occupancy.
        """
        if "occupancy" not in inner.provides:
            raise UsageError(f"OccupancyAsOpacity needs a field of occupancy; {type(inner).__name__} has none.")
        super().__init__(inner, inner.domain, inner.provides | {"density"})

    def query_sections(
        self,
        starts: Float[Tensor, "n 3"],
        ends: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
        want: Iterable[str],
    ) -> Sample:
        """See `AnswersSections` of section_opacity.py."""
        lengths = ((ends - starts) * directions).sum(-1)
        return self._with_density((starts + ends) / 2, directions, None, frozenset(want), lengths)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return self._with_density(points, directions, time, want, POINT_SECTION * max(self.domain.extent))

    def _with_density(
        self,
        points: Tensor,
        directions: Tensor | None,
        time: Tensor | None,
        want: frozenset[str],
        lengths: float | Tensor,
    ) -> Sample:
        asked = want - {"density"} | ({"occupancy"} if "density" in want else frozenset())
        sample = self.inner.query(points, directions=directions, time=time, want=asked)
        if "density" not in want:
            return sample
        return replaced(sample, want, {"density": occupied_density(sample.occupancy, lengths)})
