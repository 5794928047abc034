"""Slope and curvature of a field from a few points around each place, wide enough to teach neighbouring grid cells."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.hash_grid import grid_within
from onefield.fields.field import Field

# Corners of a regular tetrahedron about the origin: as vectors they add up to nothing, their outer products to four
# times the identity.
_CORNERS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


class Derivatives(NamedTuple):
    """Gradient per world unit, and Laplacian per squared world unit."""

    gradient: Float[Tensor, "n 3"]
    laplacian: Float[Tensor, "n"]


def tetrahedral_derivatives(field: Field, points: Float[Tensor, "n 3"], quantity: str, reach: float) -> Derivatives:
    """First and second derivatives of a scalar from five points a place, differentiable in the field's parameters.

    The slope of a grid between two of its vertices says nothing to the cells beside, so that losses on it fall apart
    into cells; differences over a cell reach the neighbours (Li et al. 2023, Neuralangelo, section 3.2). Four points at
    the corners of a tetrahedron do for the slope (up to ``reach`` times mixed second derivatives), and with the middle
    for the Laplacian (exact for quadratics).

    Args:
        field: provides the quantity.
        points: world coordinates.
        quantity: name of a scalar in `Sample` that does not depend on the viewing direction.
        reach: distance of the four points from the middle, world units.

    Raises:
        UsageError: a reach that is not positive.
    """
    if reach <= 0:
        raise UsageError(f"Numerical derivatives need a positive reach, got {reach}.")
    offsets = points.new_tensor(_CORNERS) * (reach / 3**0.5)
    places = torch.cat([points[None], points + offsets[:, None]])
    middle, *around = getattr(field.query(places, want=(quantity,)), quantity).unbind(0)
    corners = torch.stack(around, dim=-1)
    gradient = corners @ offsets * (3 / (4 * reach**2))
    return Derivatives(gradient, (corners.sum(-1) - 4 * middle) * (3 / (2 * reach**2)))


def finest_cell(field: Field) -> float:
    """Edge of a cell of the finest level in use of the field's hash grid, world units of the field that holds it.

    Raises:
        UsageError: the field has no hash grid.
    """
    for module in field.modules():
        grid = grid_within(module.encoding) if isinstance(module, ComposedField) else None
        if grid is not None:
            return max(module.domain.extent) / grid.layout.resolutions[math.ceil(grid.active_levels) - 1]
    raise UsageError(f"{type(field).__name__} has no hash grid whose cells could say how far differences reach.")
