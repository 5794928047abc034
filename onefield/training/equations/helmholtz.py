"""The Helmholtz equation: waves of one frequency, with layers at the domain's walls that swallow them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.training.equations.least_squares import Condition, PointFunction, curvature, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import border, inside
from onefield.training.equations.study import Solved, Study, relative_error, side_by_side
from onefield.types import Bounds


@dataclass(frozen=True)
class Layer:
    """A perfectly matched layer: coordinates turn complex near the walls of a box, so that waves die out there.

    Attributes:
        domain: with the layers.
        width: of the layers.
        strength: of the damping at the walls, per unit of length; it grows with the squared depth.
    """

    domain: Bounds
    width: float
    strength: float

    def stretch(self, point: Float[Tensor, "d"]) -> Float[Tensor, "d"]:
        """Imaginary part of each coordinate's stretching, per unit of length; 0 outside the layers."""
        low, high = point.new_tensor(self.domain.minimum), point.new_tensor(self.domain.maximum)
        depth = (torch.maximum(low - point, point - high) + self.width).clamp(min=0) / self.width
        return self.strength * depth.square()


def helmholtz_residual(
    function: PointFunction, point: Float[Tensor, "d"], wave_number: float, source: Float[Tensor, "2"] | float = 0.0
) -> Float[Tensor, "2"]:
    """``laplacian u + k^2 u + source``, real and imaginary part; ``function`` answers both of u."""
    bend = curvature(function, point).diagonal(dim1=1, dim2=2).sum(-1)
    return bend + wave_number**2 * function(point) + source


def matched_residual(
    function: PointFunction,
    point: Float[Tensor, "2"],
    wave_number: float,
    layer: Layer,
    source: Float[Tensor, "2"] | float = 0.0,
) -> Float[Tensor, "2"]:
    """``d/dx (sy/sx du/dx) + d/dy (sx/sy du/dy) + sx sy (k^2 u) + source`` with ``s = 1 + i sigma / k``, in the plane.

    Outside the layers it is `helmholtz_residual` (Berenger 1994; Sitzmann et al. 2020, appendix 4.2). Sources stand
    outside the layers; waves go as ``exp(i k x)``.
    """

    def flux(place: Tensor) -> Tensor:
        """Along x and y, each real and imaginary: ``2 2``."""
        gradient = slope(function, place).T
        stretch = layer.stretch(place) / wave_number
        return _product(_quotient(stretch.flip(0), stretch), gradient)

    # flux has an axis of places first, and derivatives by places last
    divergence = slope(flux, point).diagonal(dim1=0, dim2=2).sum(-1)
    x, y = (layer.stretch(point) / wave_number).unbind()
    both = torch.stack([1 - x * y, x + y])
    return divergence + wave_number**2 * _product(both, function(point)) + source


def _quotient(above: Float[Tensor, "n"], below: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
    """``(1 + i above) / (1 + i below)`` as pairs."""
    size = 1 + below.square()
    return torch.stack([(1 + above * below) / size, (above - below) / size], dim=-1)


def _product(left: Float[Tensor, "*n 2"], right: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Of complex numbers as pairs."""
    a, b = left[..., 0], left[..., 1]
    c, d = right[..., 0], right[..., 1]
    return torch.stack([a * c - b * d, a * d + b * c], dim=-1)


def _run(seed: int, observe: Callable[[str], None] | None) -> Solved:
    domain, wave_number, angle = Bounds.cube(1.0, 2), 6.0, 0.6
    direction = wave_number * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)

    def plane_wave(points: Tensor) -> Tensor:
        phase = (points * direction).sum(-1)
        return torch.stack([torch.cos(phase), torch.sin(phase)], dim=-1)

    field = sine_field(domain, 2, width=24, w0=4.0, seed=seed)
    conditions = [
        Condition(inside(domain, 300), lambda f, x: helmholtz_residual(f, x, wave_number) / wave_number**2),
        Condition(border(domain, 160), lambda f, x: f(x) - plane_wave(x), 3.0),
    ]
    left = solve(field, conditions, iterations=40, seed=seed)
    if observe is not None:
        observe(f"residual {left:.3g}")
    axis = torch.linspace(-1, 1, 64, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    with torch.no_grad():
        found = field.query(grid, want=("value",)).value
    truth = plane_wave(grid)
    metrics = {"error": relative_error(found, truth), "residual": left}
    return Solved(field, metrics, side_by_side(found[..., 0], truth[..., 0]))


HELMHOLTZ = Study("helmholtz", "a plane wave from its values on the walls of a square", _run)
