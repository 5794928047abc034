import math

import pytest
import torch

from onefield.errors import DivergedError, UsageError
from onefield.training.equations.least_squares import Condition, as_function, curvature, slope, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import among, border, inside
from onefield.types import Bounds

LINE = Bounds((0.0,), (3.0,))


def oscillation():
    """u'' = -u with u(0) = 0 and u'(0) = 1."""
    start = torch.zeros(1, 1, dtype=torch.float64)
    return [
        Condition(inside(LINE, 60), lambda f, x: curvature(f, x)[:, 0, 0] + f(x)),
        Condition(among(start, 1), lambda f, x: torch.cat([f(x), slope(f, x)[0] - 1]), 3.0),
    ]


def test_an_equation_is_solved_to_its_closed_form():
    field = sine_field(LINE, 1, width=8, w0=2.0)
    left = solve(field, oscillation(), iterations=40, tolerance=1e-6)
    places = torch.linspace(0, 3, 50, dtype=torch.float64)[:, None]
    with torch.no_grad():
        error = (field.query(places, want=("value",)).value - torch.sin(places)).abs().max().item()
    assert left < 1e-4
    assert error < 1e-3


def test_derivatives_of_closed_forms():
    point = torch.tensor([0.3, -0.7], dtype=torch.float64)

    def function(place):
        x, y = place
        return torch.stack([x * x * y, torch.sin(y)])

    x, y = point.tolist()
    assert torch.allclose(slope(function, point), torch.tensor([[2 * x * y, x * x], [0, math.cos(y)]]).double())
    bends = torch.tensor([[[2 * y, 2 * x], [2 * x, 0]], [[0, 0], [0, -math.sin(y)]]]).double()
    assert torch.allclose(curvature(function, point), bends)


def test_a_function_stays_as_the_field_was():
    field = sine_field(LINE, 1, width=4)
    point = torch.tensor([0.4], dtype=torch.float64)
    kept, before = as_function(field), field.query(point[None]).value[0].detach()
    with torch.no_grad():
        field.network.biases[-1].add_(1.0)
    assert torch.equal(kept(point), before)


def test_what_can_not_be_solved():
    with pytest.raises(UsageError, match="at most 4000 parameters"):
        solve(sine_field(LINE, 1, width=80), oscillation())
    with pytest.raises(UsageError, match="takes conditions"):
        solve(sine_field(LINE, 1, width=4), [])
    with pytest.raises(DivergedError, match="no longer finite"):
        solve(sine_field(LINE, 1, width=4), [Condition(inside(LINE, 5), lambda f, x: f(x) / 0.0)])


def test_points_of_walls():
    box = Bounds((0.0, -1.0), (2.0, 1.0))
    points = border(box, 40)(torch.Generator().manual_seed(0))
    x, y = points.unbind(1)
    assert points.shape == (40, 2)
    assert all(int(hit.sum()) == 10 for hit in (x == 0, x == 2, y == -1, y == 1))
    assert bool(box.contains(points).all())
