"""Advection: what is carried along, by a field and by a grid of as many numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.least_squares import Condition, PointFunction, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import border, inside
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.training.equations.time_steps import Law, advance
from onefield.types import Bounds

# Of places along the line, one of so many is drawn.
_SHOWN = 5
_SPEED, _WIDTH, _FIRST, _STEP, _STEPS = 0.25, 0.1, -1.5, 0.05, 240


def advection_residual(
    function: PointFunction, before: PointFunction, point: Float[Tensor, "d"], velocity: Float[Tensor, "d"], step: float
) -> Float[Tensor, "c"]:
    """``u - u0 + step * velocity . grad (u + u0) / 2``: the midpoint rule between two moments (Chen et al., eq. 9)."""
    middle = (slope(function, point) + slope(before, point)) / 2
    return function(point) - before(point) + step * middle @ velocity


def advection(domain: Bounds, velocity: tuple[float, ...], step: float, count: int) -> Law:
    """Carried along at one velocity, and 0 on the walls.

    Args:
        step: of time.
        count: points an iteration.
    """
    moving = torch.tensor(velocity, dtype=torch.float64)

    def law(moments: list[PointFunction]) -> list[Condition]:
        before = moments[0]
        return [
            Condition(inside(domain, count), lambda f, x: advection_residual(f, before, x, moving, step)),
            Condition(border(domain, 2 * domain.dimension), lambda f, x: f(x)),
        ]

    return law


def upwind(values: Float[np.ndarray, "n"], courant: float, steps: int) -> Float[np.ndarray, "n"]:
    """The same on a grid with 0 at its ends, by second-order differences against the stream (Warming and Beam 1976).

    Args:
        courant: cells a step, in [0, 2] for stability.
    """
    now = values.astype(np.float64)
    for _ in range(steps):
        padded = np.concatenate([[0.0, 0.0], now])
        one, two = padded[1:-1], padded[:-2]
        now = now - courant / 2 * (3 * now - 4 * one + two) + courant**2 / 2 * (now - 2 * one + two)
    return now


def pulse(places: Float[Tensor, "*b"], time: float) -> Float[Tensor, "*b"]:
    """The bump of the study, carried along."""
    return torch.exp(-0.5 * ((places - _FIRST - _SPEED * time) / _WIDTH).square())


def midpoint_pulse(places: Float[Tensor, "*b"], steps: int) -> Float[Tensor, "*b"]:
    """What the midpoint rule makes of the bump after so many steps where space is exact: waves that lag a little."""
    # beyond nine of its deviations the bump's spectrum is below float64
    frequencies = torch.linspace(0, 9 / _WIDTH, 2048, dtype=torch.float64)
    turned = 2 * steps * torch.atan(frequencies * _SPEED * _STEP / 2)
    spectrum = torch.exp(-0.5 * (frequencies * _WIDTH).square()) * _WIDTH * math.sqrt(2 / math.pi)
    waves = spectrum * torch.cos(frequencies * (places[..., None] - _FIRST) - turned)
    return torch.trapezoid(waves, frequencies)


def carried(steps: int, seed: int, observe: Callable[[str], None] | None = None) -> Solved:
    """The pulse after so many steps, by a field of 481 numbers and by a grid of as many."""
    domain = Bounds.cube(2.0, 1)
    field = sine_field(domain, 1, width=20, hidden_layers=1, w0=10.0, seed=seed)
    begun = [Condition(inside(domain, 600), lambda f, x: f(x) - pulse(x, 0.0))]
    first = solve(field, begun, iterations=60, tolerance=1e-4, seed=seed)
    places = torch.linspace(-2, 2, 512, dtype=torch.float64)
    rows: list[Tensor] = []

    def told(step: int, now: torch.nn.Module) -> None:
        with torch.no_grad():
            rows.append(field.query(places[:, None], want=("value",)).value[:, 0])
        if observe is not None and step % max(1, steps // 20) == 0:
            observe(f"{step / steps:4.0%}  time {step * _STEP:.2f}")

    left = advance(field, advection(domain, (_SPEED,), _STEP, 400), steps, tolerance=1e-5, seed=seed, observe=told)
    times = [(index + 1) * _STEP for index in range(steps)]
    truth = torch.stack([pulse(places, time) for time in times])
    cells = sum(p.numel() for p in field.parameters())
    centers = torch.linspace(-2, 2, cells, dtype=torch.float64)
    width = 4 / (cells - 1)
    grid = upwind(pulse(centers, 0.0).numpy(), _SPEED * _STEP / width, steps)
    metrics = {
        "error": relative_error(rows[-1], truth[-1]),
        "largest_error": (rows[-1] - truth[-1]).abs().max().item(),
        # of the midpoint rule itself, without a field
        "error_in_time": relative_error(midpoint_pulse(places, steps), truth[-1]),
        "grid_error": relative_error(torch.from_numpy(grid), pulse(centers, times[-1])),
        # the integral is carried along, too
        "mass_change": (rows[-1].sum() / truth[-1].sum() - 1).item(),
        "first_residual": first,
        "residual": left,
    }
    shown = torch.stack(rows), truth
    if steps > 64:
        shown = tuple(part[:: steps // 64, ::_SHOWN] for part in shown)
    return Solved(field, metrics, side_by_side(*shown))


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    return carried(_STEPS, seed, observe)


ADVECTION = Study("advection", "a pulse carried along a line, step by step, beside a grid of as many numbers", _run)
