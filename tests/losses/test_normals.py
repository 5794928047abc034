"""Normals that rays show: of a ball they point away from its middle, and their slopes are those of differences."""

from dataclasses import replace

import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.fields.field import Field
from onefield.losses.normals import normal_error, normals_term, shown_normals
from onefield.losses.term import Evidence
from onefield.types import Bounds, Rays, RaySamples, Rendering, Sample


class Ellipsoid(Field):
    """A level set whose axes are parameters."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"distance"})

    def __init__(self) -> None:
        super().__init__()
        self.stretch = torch.nn.Parameter(torch.tensor([1.0, 1.5, 0.7], dtype=torch.float64))

    def _evaluate(self, points, directions, time, want):
        return Sample(distance=(points * self.stretch).norm(dim=-1) - 0.5)


def rays_at_a_ball(count: int = 12):
    """Rays along -z with one thin sample where they meet the ball of radius 0.5, and one behind that weighs less."""
    generator = torch.Generator().manual_seed(4)
    across = 0.6 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.3
    height = torch.sqrt(0.25 - across.square().sum(-1))
    down = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand(count, 3)
    rays = Rays(torch.cat([across, torch.full((count, 1), 2.0)], -1), down)
    meets = 2 - height
    starts = torch.stack([meets - 1e-3, meets + 0.05], -1).reshape(-1)
    owners = torch.arange(count).repeat_interleave(2)
    samples = RaySamples(owners, starts, starts + 2e-3, 2 * torch.arange(count + 1))
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(count)
    return rays, samples, weights, torch.cat([across, height[:, None]], -1) / 0.5


def test_a_ball_shows_normals_that_point_away_from_its_middle():
    rays, samples, weights, truth = rays_at_a_ball()
    found = shown_normals(SphereField(0.5), rays, samples, weights, 10**6)
    torch.testing.assert_close(found, truth, atol=1e-9, rtol=0)
    # as many whole rays as fit
    assert len(shown_normals(SphereField(0.5), rays, samples, weights, 7)) == 3
    given = Evidence(truth, truth, SphereField(0.5), target_normal=truth, rays=rays)
    rendering = Rendering(truth, None, weights[::2], samples=samples, weights=weights)
    assert normals_term().evaluate(replace(given, rendering=rendering)) < 1e-8
    assert normals_term().evaluate(given) == 0


def test_one_and_two_counted_by_hand_and_unknown_ones_not():
    normals = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], requires_grad=True)
    target = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [torch.nan] * 3])
    error = normal_error(normals, target)
    assert error.item() == pytest.approx((0 + 3) / 2)
    error.backward()
    assert torch.isfinite(normals.grad).all()


def test_slopes_in_the_field_are_those_of_differences():
    rays, samples, weights, truth = rays_at_a_ball()
    weights[1::2] = 0.3
    field = Ellipsoid()

    def loss() -> torch.Tensor:
        return normal_error(shown_normals(field, rays, samples, weights, 10**6), truth)

    loss().backward()
    step = 1e-6
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                field.stretch[axis] += sign * step
            ends.append(loss().item())
            with torch.no_grad():
                field.stretch[axis] -= sign * step
        assert field.stretch.grad[axis].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)
