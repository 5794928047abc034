"""Total variation of a field over the places of a grid: what decides where the data do not."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.signals import Signal
from onefield.fields.field import Field

# Differences below this part of the half range are no variation: the root's slope there would be unbounded.
_LEAST_SLOPE = 1e-3
# The quartiles of a normal law stand at this many standard deviations.
_QUARTILE = 0.6745


def field_variation(
    field: Field, grid: Signal, cells: Int[Tensor, "n"], scale: float, generator: torch.Generator, most: int
) -> Float[Tensor, ""]:
    """Mean length of a field's forward differences, from cells of a grid to their neighbours (Rudin et al. 1992).

    Args:
        grid: whose cells they are.
        cells: flat indices, of which some are drawn.
        scale: unit of the field's values.
        most: how many are drawn.
    """
    drawn = cells[torch.randint(len(cells), (min(most, len(cells)),), generator=generator)]
    places = grid.points(drawn)
    step = torch.eye(places.shape[1]) / max(grid.shape)
    around = torch.cat([places[:, None], places[:, None] + step], dim=1)
    values = field.query(around, want=("value",)).value / scale
    slopes = (values[:, 1:] - values[:, :1]).square().sum((1, 2))
    return (slopes + _LEAST_SLOPE**2).sqrt().mean()


def noise_level(signal: Signal) -> float:
    """Standard deviation of noise that is independent from sample to sample.

    From second differences along all axes at once, in which smooth signals vanish (Immerkaer 1996), by their quartiles,
    which edges hardly move. Axes below three samples are left out; 0 where there is nothing to go by.
    """
    values = signal.values.double()
    spread = 1.0
    for axis, side in enumerate(signal.shape):
        if side >= 3:
            values = torch.diff(values, n=2, dim=axis)
            # 1 + 4 + 1: the squared coefficients of a second difference
            spread *= 6.0
    known = values[torch.isfinite(values)].abs()
    return 0.0 if known.numel() == 0 or spread == 1.0 else known.median().item() / (_QUARTILE * spread**0.5)
