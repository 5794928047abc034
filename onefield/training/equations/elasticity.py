"""Linear elasticity, step by step: displacements of a solid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.fluid import slip_walls
from onefield.training.equations.least_squares import Condition, PointFunction, curvature, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import inside
from onefield.training.equations.study import Solved, Study, side_by_side
from onefield.training.equations.time_steps import Law, advance
from onefield.types import Bounds


@dataclass(frozen=True)
class Solid:
    """An even, isotropic material.

    Attributes:
        first, shear: Lame's constants.
        density: mass a unit of volume.
    """

    first: float = 1.0
    shear: float = 1.0
    density: float = 1.0

    def acceleration(self, function: PointFunction, point: Float[Tensor, "d"]) -> Float[Tensor, "d"]:
        """``((first + shear) grad div u + shear laplacian u) / density`` (Navier and Cauchy)."""
        bend = curvature(function, point)
        spreading = bend.diagonal(dim1=0, dim2=1).sum(-1)
        force = (self.first + self.shear) * spreading + self.shear * bend.diagonal(dim1=1, dim2=2).sum(-1)
        return force / self.density

    def energy(self, gradients: Float[Tensor, "*b d d"], velocities: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
        """Of strain and motion a unit of volume."""
        strain = (gradients + gradients.transpose(-1, -2)) / 2
        trace = strain.diagonal(dim1=-2, dim2=-1).sum(-1)
        stored = self.first / 2 * trace.square() + self.shear * strain.square().sum((-2, -1))
        return stored + self.density / 2 * velocities.square().sum(-1)

    @property
    def pressure_speed(self) -> float:
        """Of waves that swing along their way."""
        return math.sqrt((self.first + 2 * self.shear) / self.density)


def motion_residual(
    function: PointFunction, before: list[PointFunction], point: Float[Tensor, "d"], solid: Solid, step: float
) -> Float[Tensor, "d"]:
    """``u - 2 u0 + u1 - step^2 a((u + 2 u0 + u1) / 4)`` with the moments before, newest first.

    Newmark's rule of mean acceleration (1959), which keeps the energy of linear solids.
    """
    now, last = before

    def mean(place: Tensor) -> Tensor:
        return (function(place) + 2 * now(place) + last(place)) / 4

    inertia = function(point) - 2 * now(point) + last(point)
    return inertia - step**2 * solid.acceleration(mean, point)


def motion(domain: Bounds, solid: Solid, step: float, count: int) -> Law:
    """A solid between walls on which it slides.

    Args:
        step: of time.
        count: points an iteration inside; an eighth of that on each wall.
    """

    def law(moments: list[PointFunction]) -> list[Condition]:
        return [
            Condition(inside(domain, count), lambda f, x: motion_residual(f, moments, x, solid, step)),
            *slip_walls(domain, count // 8, 0.5),
        ]

    return law


def swing(steps: int, seed: int, observe: Callable[[str], None] | None = None) -> Solved:
    """A standing wave in the unit square, after so many steps of a fortieth of its period."""
    domain, solid = Bounds((0.0, 0.0), (1.0, 1.0)), Solid()
    frequency = math.pi * solid.pressure_speed
    step = 2 * math.pi / frequency / 40
    # the rule's own frequency, a little lower than the solid's: its solution is known as well
    slowed = 2 * math.atan(frequency * step / 2) / step

    def wave(points: Tensor, time: float, rate: float) -> Tensor:
        along = torch.sin(math.pi * points[..., 0]) * math.cos(rate * time)
        return 0.1 * torch.stack([along, torch.zeros_like(along)], dim=-1)

    field = sine_field(domain, 2, width=16, w0=2.0, seed=seed)
    begun = [Condition(inside(domain, 300), lambda f, x: f(x) - wave(x, 0.0, slowed))]
    first = solve(field, begun, iterations=40, tolerance=1e-5, seed=seed)
    former: list[PointFunction] = [lambda point: wave(point, -step, slowed)]
    axis = (torch.arange(48, dtype=torch.float64) + 0.5) / 48
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    moments: list[tuple[Tensor, Tensor]] = []

    def told(index: int, now: torch.nn.Module) -> None:
        places = grid.reshape(-1, 2)
        answer = field.query(places, want=("value",)).value.detach()
        moments.append((answer, torch.func.vmap(torch.func.jacrev(_asked))(places).detach()))
        if observe is not None and index % max(1, steps // 20) == 0:
            observe(f"{index / steps:4.0%}  step {index}")

    def _asked(place: Tensor) -> Tensor:
        return field.query(place[None], want=("value",)).value[0]

    left = advance(
        field, motion(domain, solid, step, 240), steps, former=former, tolerance=1e-7, seed=seed, observe=told
    )
    found, truth = moments[-1][0].reshape(48, 48, 2), wave(grid, steps * step, slowed)
    scale = wave(grid, 0.0, slowed).square().mean().sqrt()
    energies = [
        solid.energy((later[1] + now[1]) / 2, (later[0] - now[0]) / step).mean().item()
        for now, later in pairwise(moments)
    ]
    metrics = {
        "error": ((found - truth).square().mean().sqrt() / scale).item(),
        "error_in_time": ((truth - wave(grid, steps * step, frequency)).square().mean().sqrt() / scale).item(),
        "energy_change": energies[-1] / energies[0] - 1 if energies else 0.0,
        "first_residual": first,
        "residual": left,
    }
    return Solved(field, metrics, side_by_side(found[..., 0], truth[..., 0]))


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    return swing(40, seed, observe)


ELASTICITY = Study("elasticity", "a square that swings along one side, for a period, step by step", _run)
