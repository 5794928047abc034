"""Smoothness and size of what grids store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.losses.term import Evidence, LossTerm

# Differences smaller than this have no direction worth a gradient; the root's slope there would be unbounded.
_LEAST_SQUARE = 1e-12


def squared_variation(grid: Float[Tensor, "c *r"]) -> Float[Tensor, ""]:
    """Mean squared difference of neighbours along each axis, summed over axes (TensoRF's and DVGO's kind)."""
    return torch.stack([torch.diff(grid, dim=axis).square().mean() for axis in range(1, grid.ndim)]).sum()


def total_variation(grid: Float[Tensor, "c *r"]) -> Float[Tensor, ""]:
    """Isotropic total variation: mean length of the forward-difference vector (Rudin et al. 1992)."""
    squares = torch.zeros_like(grid)
    for axis in range(1, grid.ndim):
        difference = torch.diff(grid, dim=axis)
        # the last vertex of an axis has no forward neighbour: no difference
        padding = [0, 0] * (grid.ndim - 1 - axis) + [0, 1]
        squares = squares + functional.pad(difference, padding).square()
    return torch.sqrt(squares.clamp(min=_LEAST_SQUARE)).mean()


def normalized_decay(levels: Sequence[Float[Tensor, "entries f"]]) -> Float[Tensor, ""]:
    """Sum over levels of the mean squared entry (Zip-NeRF, section 4): weighs a coarse level as much as a fine one."""
    return torch.stack([level.square().mean() for level in levels]).sum()


_KINDS: dict[str, Callable[[Tensor], Tensor]] = {"squared": squared_variation, "isotropic": total_variation}


def variation_term(grids: Callable[[Field], Sequence[Tensor]], weight: float = 1e-4, kind: str = "squared") -> LossTerm:
    """Variation of grids.

    Args:
        grids: picks them, shaped ``c *resolution``, out of the field in training.
        kind: ``"squared"`` or ``"isotropic"``.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in _KINDS:
        raise UsageError(f"Unknown variation '{kind}': valid are {', '.join(_KINDS)}.")
    vary = _KINDS[kind]

    def evaluate(evidence: Evidence) -> Tensor:
        return torch.stack([vary(grid) for grid in grids(evidence.field)]).sum()

    return LossTerm("variation", weight, evaluate)


def decay_term(levels: Callable[[Field], Sequence[Tensor]], weight: float = 0.1) -> LossTerm:
    """`normalized_decay` of a hash table.

    Args:
        levels: picks the table's levels, ``entries f`` each, out of the field in training.
        weight: Zip-NeRF uses 0.1.
    """
    return LossTerm("decay", weight, lambda evidence: normalized_decay(levels(evidence.field)))
