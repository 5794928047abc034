"""Where along a ray the light is lost: quantiles of the distance at which it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.gaussian_depths import checked_shares
from onefield.types import RaySamples

# Thicker intervals let less than exp(-80) through, and would take the digits of all that follow in a running sum.
_THICKEST = 80.0


@torch.no_grad()
def opacity_quantiles(
    densities: Float[Tensor, "N"], samples: RaySamples, shares: Sequence[float]
) -> Float[Tensor, "R Q"]:
    """Distances at which the accumulated opacity reaches given shares; infinite where it never does.

    The share 0.5 is the median depth, where transmittance falls to one half. Unlike the mean it lies on one of the
    surfaces that a ray meets, not between them. Within an interval density is constant, so the place is exact there.

    Args:
        densities: per world unit, at the packed intervals.
        shares: of all light, in (0, 1); a ray whose opacity stays below one never reaches it.

    Raises:
        UsageError: a share outside (0, 1).
    """
    checked_shares(shares, densities)
    thickness = (densities.double() * (samples.ends - samples.starts).double()).clamp(max=_THICKEST)
    behind = thickness.cumsum(0)
    none = behind.new_zeros(1)
    first, last = samples.offsets[:-1], samples.offsets[1:]
    before = torch.cat([none, behind])[first]
    columns = []
    for share in shares:
        wanted = before - math.log1p(-share)
        index = torch.searchsorted(behind, wanted)
        reached = index < last
        index = index[reached]
        lacking = wanted[reached] - (behind[index] - thickness[index])
        distance = torch.full_like(wanted, torch.inf, dtype=densities.dtype)
        distance[reached] = samples.starts[index] + (lacking / densities[index].double()).to(densities.dtype)
        columns.append(distance)
    return torch.stack(columns, dim=-1)
