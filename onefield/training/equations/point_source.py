"""Waves of a point source that leave through matched layers, beside the Green's function of the plane."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.helmholtz import Layer, matched_residual
from onefield.training.equations.least_squares import Condition, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import border, inside
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.types import Bounds

_WAVE_NUMBER, _SPREAD = 8.0, 0.1
# Radii at which integrals over the source are tabled, and how many of its deviations it reaches.
_RADII, _REACH = 4096, 8.0


def source_density(squares: Float[Tensor, "*b"], spread: float) -> Float[Tensor, "*b"]:
    """Of a source of strength 1 in the plane with a normal density, by squared distance from its middle."""
    return torch.exp(-squares / (2 * spread**2)) / (2 * math.pi * spread**2)


def spread_wave(radii: Float[Tensor, "*b"], wave_number: float, spread: float) -> Float[Tensor, "*b 2"]:
    """The outgoing solution of ``laplacian u + k^2 u = -source_density`` in the whole plane, real and imaginary part.

    It is ``(i/4) H_0(k r) exp(-k^2 spread^2 / 2)`` outside the source, the Green's function but for a factor; within,
    the Green's function integrated over the source's rings (by Graf's addition theorem), to about six digits.

    Args:
        radii: above 0.
        spread: deviation of the source's density.
    """
    width = max(float(radii.max()), _REACH * spread) / (_RADII - 1)
    rings = (torch.arange(_RADII, dtype=torch.float64) + 0.5) * width
    first, second = torch.special.bessel_j0(wave_number * rings), torch.special.bessel_y0(wave_number * rings)
    amount = source_density(rings.square(), spread) * rings * width
    # half of a ring lies within its middle's radius
    within = (first * amount).cumsum(0) - first * amount / 2
    beyond = (second * amount).sum() - (second * amount).cumsum(0) + second * amount / 2
    real = -(second * within + first * beyond)
    imaginary = first * (first * amount).sum()
    tabled = math.pi / 2 * torch.stack([real, imaginary])
    columns = [np.interp(radii.numpy(), rings.numpy(), column.numpy()) for column in tabled]
    return torch.from_numpy(np.stack(columns, axis=-1))


def radiated(
    iterations: int, seed: int, observe: Callable[[str], None] | None = None, width: int = 32, count: int = 600
) -> Solved:
    """A source of wave number 8 between layers, by a network so wide and at so many points."""
    domain, scale = Bounds.cube(1.0, 2), 1 / _WAVE_NUMBER**2
    layer = Layer(domain, width=0.3, strength=40.0)

    def residual(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
        density = source_density(point.square().sum(), _SPREAD)
        source = torch.stack([density, torch.zeros_like(density)])
        return matched_residual(function, point, _WAVE_NUMBER, layer, source) * scale

    def near(generator: torch.Generator) -> Tensor:
        return 2 * _SPREAD * torch.randn(count // 4, 2, generator=generator, dtype=torch.float64)

    field = sine_field(domain, 2, width=width, w0=2 * _WAVE_NUMBER, seed=seed)
    conditions = [
        Condition(inside(domain, count), residual),
        Condition(near, residual, 0.5),
        Condition(border(domain, count // 6), lambda f, x: f(x)),
    ]
    left = solve(field, conditions, iterations=iterations, seed=seed)
    if observe is not None:
        observe(f"residual {left:.3g}")
    reach = domain.extent[0] / 2 - layer.width
    axis = torch.linspace(-reach, reach, 64, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    with torch.no_grad():
        found = field.query(grid, want=("value",)).value
    truth = spread_wave(grid.norm(dim=-1), _WAVE_NUMBER, _SPREAD)
    largest = ((found - truth).norm(dim=-1).max() / truth.norm(dim=-1).max()).item()
    metrics = {"error": relative_error(found, truth), "largest_error": largest, "residual": left}
    return Solved(field, metrics, side_by_side(found[..., 0], truth[..., 0]))


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    return radiated(120, seed, observe)


POINT_SOURCE = Study("point-source", "waves of a point source between matched layers, beside Green's function", _run)
