"""Incompressible fluids, step by step: velocity and pressure of one field."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.least_squares import Condition, PointFunction, curvature, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import inside, wall
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.training.equations.time_steps import Law, advance
from onefield.types import Bounds

_DIVERGENCE = 0.1


def flow_residual(
    function: PointFunction, before: PointFunction, point: Float[Tensor, "2"], step: float, viscosity: float
) -> Float[Tensor, "3"]:
    """The Navier-Stokes equations of density 1 between two moments, and the divergence of the later one.

    ``u - u0 + step ((m . grad) m + grad p - viscosity laplacian m)`` with the mean velocity ``m``: the midpoint rule,
    which keeps the energy of a fluid without viscosity. ``function`` answers both velocities and the pressure.
    """
    later, now = slope(function, point), slope(before, point)
    values, first = function(point), before(point)
    middle, gradient = (values[:2] + first[:2]) / 2, (later[:2] + now[:2]) / 2
    force = later[2] + gradient @ middle
    if viscosity:
        bends = curvature(function, point)[:2] + curvature(before, point)[:2]
        force = force - viscosity * bends.diagonal(dim1=1, dim2=2).sum(-1) / 2
    divergence = later[0, 0] + later[1, 1]
    return torch.cat([values[:2] - first[:2] + step * force, (_DIVERGENCE * divergence)[None]])


def slip_residual(function: PointFunction, point: Float[Tensor, "2"], axis: int) -> Float[Tensor, "2"]:
    """Nothing through a wall across an axis, and no friction along it: of the first two values."""
    return torch.stack([function(point)[axis], slope(function, point)[1 - axis, axis]])


def slip_walls(domain: Bounds, count: int, weight: float) -> list[Condition]:
    """`slip_residual` on all walls of a rectangle."""
    return [
        Condition(wall(domain, axis, upper, count), lambda f, x, axis=axis: slip_residual(f, x, axis), weight)
        for axis in (0, 1)
        for upper in (False, True)
    ]


def flow(domain: Bounds, step: float, viscosity: float, count: int) -> Law:
    """A fluid in a rectangle without friction at its walls.

    Args:
        step: of time.
        count: points an iteration inside; an eighth of that on each wall.
    """
    corner = torch.tensor([domain.minimum], dtype=torch.float64)

    def law(moments: list[PointFunction]) -> list[Condition]:
        before = moments[0]
        return [
            Condition(inside(domain, count), lambda f, x: flow_residual(f, before, x, step, viscosity)),
            *slip_walls(domain, count // 8, 0.5),
            # a pressure is known but for a constant
            Condition(lambda generator: corner, lambda f, x: step * f(x)[2:]),
        ]

    return law


def taylor_green(points: Float[Tensor, "*b 2"], time: float, viscosity: float) -> Float[Tensor, "*b 2"]:
    """Velocities of the vortex in a square of side pi, which only fades (Taylor and Green 1937)."""
    x, y = points.unbind(-1)
    fading = math.exp(-2 * viscosity * time)
    return fading * torch.stack([torch.sin(x) * torch.cos(y), -torch.cos(x) * torch.sin(y)], dim=-1)


def vortex(
    steps: int, seed: int, observe: Callable[[str], None] | None = None, width: int = 20, count: int = 400
) -> Solved:
    """The vortex after so many steps of 0.05, by a network so wide and at so many points."""
    domain, step, viscosity = Bounds((0.0, 0.0), (math.pi, math.pi)), 0.05, 0.1
    field = sine_field(domain, 3, width=width, w0=2.0, seed=seed)
    begun = [Condition(inside(domain, count), lambda f, x: f(x)[:2] - taylor_green(x, 0.0, viscosity))]
    first = solve(field, begun, iterations=40, tolerance=1e-4, seed=seed)
    axis = (torch.arange(48, dtype=torch.float64) + 0.5) * (math.pi / 48)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)

    def velocities() -> Tensor:
        with torch.no_grad():
            return field.query(grid, want=("value",)).value[..., :2]

    energy = velocities().square().mean().item()

    def told(index: int, now: torch.nn.Module) -> None:
        if observe is not None and index % max(1, steps // 20) == 0:
            observe(f"{index / steps:4.0%}  time {index * step:.2f}")

    law = flow(domain, step, viscosity, count)
    left = advance(field, law, steps, iterations=6, first_iterations=24, tolerance=1e-5, seed=seed, observe=told)
    found, truth = velocities(), taylor_green(grid, steps * step, viscosity)
    metrics = {
        "error": relative_error(found, truth),
        # the energy falls twice as fast as the velocity
        "energy_error": found.square().mean().item() / energy / math.exp(-4 * viscosity * steps * step) - 1,
        "first_residual": first,
        "residual": left,
    }
    return Solved(field, metrics, side_by_side(found[..., 0], truth[..., 0]))


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    return vortex(40, seed, observe)


FLUID = Study("fluid", "a Taylor-Green vortex that fades, step by step", _run)
