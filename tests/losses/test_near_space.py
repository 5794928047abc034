"""The space before the near limit, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.fields.analytic import Material, SphereField
from onefield.losses.near_space import near_space_error, near_space_term
from onefield.losses.term import Evidence
from onefield.types import Rays, RaySamples, Rendering

DENSITY = 1.5


def rays(count: int, start: float) -> tuple[Rays, RaySamples]:
    """Parallel rays along z from the plane z = 0, each with two samples from ``start`` on."""
    origins = torch.cat([0.01 * torch.randn(count, 2), torch.zeros(count, 1)], dim=1)
    starts = torch.tensor([start, start + 0.1]).repeat(count)
    indices = torch.arange(count).repeat_interleave(2)
    directions = torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    return Rays(origins, directions), RaySamples(indices, starts, starts + 0.1, torch.arange(count + 1) * 2)


def ball(radius: float) -> SphereField:
    return SphereField(radius, material=Material(density=DENSITY, color=(1.0, 0.0, 0.0)))


def test_space_that_is_filled_counts_with_its_opacity():
    given = rays(50, start=0.4)
    assert float(near_space_error(ball(0.9), *given)) == pytest.approx(1 - math.exp(-DENSITY * 0.4), rel=1e-5)


def test_space_that_is_filled_in_part_counts_in_part():
    """The ball reaches half as far as the near limit: half of the points lie in it."""
    given = rays(4000, start=0.8)
    expected = 0.5 * (1 - math.exp(-DENSITY * 0.8))
    assert float(near_space_error(ball(0.4), *given)) == pytest.approx(expected, rel=0.02)


def test_empty_space_and_rays_without_samples_cost_nothing():
    given, samples = rays(10, start=0.4)
    moved = Rays(given.origins + 3, given.directions)
    assert float(near_space_error(ball(0.5), moved, samples)) == 0
    none = RaySamples(samples.ray_indices[:0], samples.starts[:0], samples.ends[:0], torch.zeros(11, dtype=torch.int64))
    assert float(near_space_error(ball(0.9), given, none)) == 0


def test_the_density_there_gets_a_gradient_that_lowers_it():
    given = rays(20, start=0.4)
    field = ball(0.9)
    scale = torch.tensor(1.0, requires_grad=True)

    class Scaled(type(field)):
        def _evaluate(self, points, directions, time, want):
            answer = super()._evaluate(points, directions, time, want)
            return type(answer)(density=answer.density * scale)

    scaled = Scaled(0.9, material=Material(density=DENSITY, color=(1.0, 0.0, 0.0)))
    near_space_error(scaled, *given).backward()
    assert float(scale.grad) == pytest.approx(DENSITY * 0.4 * math.exp(-DENSITY * 0.4), rel=1e-4)


def test_the_term_needs_a_rendering_with_samples():
    given, samples = rays(5, start=0.4)
    color = torch.zeros(5, 3)
    nothing = Evidence(prediction=color, target=color, field=ball(0.9))
    assert float(near_space_term().evaluate(nothing)) == 0
    rendering = Rendering(color=color, depth=None, opacity=torch.zeros(5), samples=samples)
    seen = Evidence(prediction=color, target=color, field=ball(0.9), rendering=rendering, rays=given)
    assert float(near_space_term().evaluate(seen)) > 0
