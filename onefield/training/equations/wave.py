"""The wave equation along a line, solved over place and time at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.least_squares import Condition, PointFunction, curvature, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.types import Bounds


def wave_residual(function: PointFunction, point: Float[Tensor, "2"], speed: float) -> Float[Tensor, "c"]:
    """``u_tt - speed^2 u_xx`` at a point of place and time, over the squared speed."""
    bend = curvature(function, point)
    return bend[:, 1, 1] / speed**2 - bend[:, 0, 0]


def d_alembert(
    start: Callable[[Tensor], Tensor], places: Float[Tensor, "*b"], times: Float[Tensor, "*b"], speed: float
) -> Float[Tensor, "*b"]:
    """The solution that stands still at first: halves of the start, one to each side."""
    return (start(places - speed * times) + start(places + speed * times)) / 2


def parted(iterations: int, seed: int, observe: Callable[[str], None] | None = None) -> Solved:
    """A bell of deviation 0.25 over 1 unit of time at speed 1."""
    half, speed, width = 1.5, 1.0, 0.25
    domain = Bounds((-half, 0.0), (half, 1.0))

    def start(places: Tensor) -> Tensor:
        return torch.exp(-0.5 * (places / width).square())

    def in_reach(points: Tensor) -> Tensor:
        """Places and times that only the start matters to, from the unit square."""
        time = points[:, 1:]
        return torch.cat([(2 * points[:, :1] - 1) * (half - speed * time), time], dim=1)

    def first(generator: torch.Generator) -> Tensor:
        places = torch.rand(120, 1, generator=generator).double()
        return in_reach(torch.cat([places, torch.zeros_like(places)], dim=1))

    def later(generator: torch.Generator) -> Tensor:
        return in_reach(torch.rand(400, 2, generator=generator).double())

    field = sine_field(domain, 1, width=24, w0=4.0, seed=seed)
    conditions = [
        Condition(later, lambda f, x: wave_residual(f, x, speed) * width),
        Condition(first, lambda f, x: torch.cat([f(x) - start(x[:1]), slope(f, x)[:, 1] * width]), 5.0),
    ]
    left = solve(field, conditions, iterations=iterations, seed=seed)
    if observe is not None:
        observe(f"residual {left:.3g}")
    axis = torch.linspace(0, 1, 64, dtype=torch.float64)
    grid = in_reach(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)).reshape(64, 64, 2)
    with torch.no_grad():
        found = field.query(grid, want=("value",)).value[..., 0]
    truth = d_alembert(start, grid[..., 0], grid[..., 1], speed)
    metrics = {
        "error": relative_error(found, truth),
        "largest_error": (found - truth).abs().max().item(),
        "residual": left,
    }
    return Solved(field, metrics, side_by_side(found, truth))


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    return parted(60, seed, observe)


WAVE = Study("wave", "a pulse that parts into two, by d'Alembert", _run)
