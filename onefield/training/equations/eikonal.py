"""The eikonal equation: signed distances from a curve or surface."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.least_squares import Condition, PointFunction, curvature, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import among, inside
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.types import Bounds

# Of the slope's change, in units of the domain: what decides between distances and their many folded cousins.
VISCOSITY = 0.02
_BOUNDARY = 10.0


def eikonal_residual(
    function: PointFunction, point: Float[Tensor, "d"], viscosity: float = VISCOSITY
) -> Float[Tensor, "1"]:
    """``|grad f|^2 - 1 - viscosity * sign(f) * laplacian f``: 0 for distances, but for the viscosity.

    Without viscosity any function with slopes of length 1 will do, folded wherever; with it, in the limit, only the
    distance that is negative inside (Crandall and Lions 1983): it has tips upwards outside and downwards inside.
    """
    (gradient,) = slope(function, point)
    if not viscosity:
        return (gradient.square().sum() - 1)[None]
    value = function(point)[0]
    side = value / (value.square() + viscosity**2).sqrt()
    return (gradient.square().sum() - 1 - viscosity * side * curvature(function, point)[0].diagonal().sum())[None]


def on_surface(function: PointFunction, point: Float[Tensor, "2d"]) -> Float[Tensor, "k"]:
    """Value 0 and slope 1 along the normal; the point's second half is the normal."""
    place, normal = point.chunk(2)
    return torch.cat([function(place), slope(function, place)[0] - normal])


def distance_conditions(
    domain: Bounds, points: Float[Tensor, "m d"], normals: Float[Tensor, "m d"], count: int
) -> list[list[Condition]]:
    """What to solve for one after the other, each from where the one before ended.

    Args:
        domain: in which distances are wanted.
        points, normals: on the surface; unit length, out of the solid.
        count: points an iteration, inside and on the surface each.
    """
    surface = Condition(among(torch.cat([points, normals], dim=1).double(), count), on_surface, _BOUNDARY)

    def bulk(viscosity: float) -> Condition:
        return Condition(inside(domain, count), lambda f, x: eikonal_residual(f, x, viscosity))

    return [[surface, bulk(factor * VISCOSITY)] for factor in (20, 5, 1)]


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    domain, radius = Bounds.cube(1.0, 2), 0.6
    angles = torch.linspace(0, 2 * torch.pi, 200)
    normals = torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)
    field = sine_field(domain, 1, width=24, w0=2.0, seed=seed)
    left = 0.0
    for stage in distance_conditions(domain, radius * normals, normals, 300):
        left = solve(field, stage, iterations=20, seed=seed)
        if observe is not None:
            observe(f"residual {left:.3g}")
    axis = torch.linspace(-1, 1, 64, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    with torch.no_grad():
        found = field.query(grid, want=("value",)).value[..., 0]
    truth = grid.norm(dim=-1) - radius
    # the distance has a tip in the middle, which no smooth field has
    away = grid.norm(dim=-1) > radius / 3
    metrics = {
        "error": relative_error(found[away], truth[away]),
        "largest_error": (found - truth)[away].abs().max().item(),
        "residual": left,
    }
    return Solved(field, metrics, side_by_side(found, truth))


EIKONAL = Study("eikonal", "signed distance from a circle, by slopes of length 1", _run)
