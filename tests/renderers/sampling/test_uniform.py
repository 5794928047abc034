"""Intervals of equal number, and the geometry that all samplers share."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.renderers.sampling.intervals import gather_back, points_on, ray_limits, spread
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.types import Bounds, Rays


def random_rays(count: int = 300) -> Rays:
    origins = torch.randn(count, 3) * 2
    return Rays(origins, torch.nn.functional.normalize(torch.randn(count, 3) - origins, dim=-1))


def test_limits_are_where_the_ray_is_inside():
    rays, box = random_rays(), Bounds((-1.0, -0.5, 0.0), (0.5, 1.0, 2.0))
    near, far = ray_limits(rays, box, 0.1)
    t = torch.linspace(0, 12, 2401)
    inside = box.contains(rays.origins[:, None] + rays.directions[:, None] * t[:, None]) & (t >= 0.1)
    assert inside.any(1).sum() > 50
    torch.testing.assert_close(inside.sum(1) * 0.005, far - near, atol=0.011, rtol=0)
    hit = inside.any(1)
    torch.testing.assert_close(t[inside.int().argmax(1)][hit], near[hit], atol=0.006, rtol=0)


def test_limits_of_rays_along_the_axes_and_in_faces():
    origins = torch.tensor([[-3.0, 0, 0], [-3, 1, 0], [-3, 1.1, 0], [0, 0, 0], [3, 0, 0]])
    rays = Rays(origins, torch.tensor([1.0, 0, 0]).expand(5, 3))
    near, far = ray_limits(rays, Bounds.cube())
    assert near.tolist() == [2, 2, 0, 0, 0]
    assert far.tolist() == [4, 4, 0, 1, 0]


def test_limits_of_the_rays_themselves_hold():
    rays = Rays(torch.tensor([[-3.0, 0, 0]]), torch.tensor([[1.0, 0, 0]]), torch.tensor([2.5]), torch.tensor([3.0]))
    near, far = ray_limits(rays, Bounds.cube())
    assert (near.item(), far.item()) == (2.5, 3.0)


@pytest.mark.parametrize("disparity", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_intervals_tile_the_way_through_the_domain(disparity, seed):
    rays, field = random_rays(), SphereField()
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    samples = UniformSampler(20, disparity=disparity, near=0.1)(rays, field, generator).samples
    near, far = ray_limits(rays, field.domain, 0.1)
    assert torch.equal(samples.offsets.diff() == 20, near < far)
    assert (samples.ends > samples.starts).all()
    covered = torch.zeros(300).index_add(0, samples.ray_indices, samples.ends - samples.starts)
    torch.testing.assert_close(covered, far - near, atol=1e-4, rtol=1e-4)
    assert field.domain.contains(points_on(rays, samples)).all()


def test_disparity_spacing_is_even_near_and_hyperbolic_far():
    t = torch.logspace(-3, 3, 100, dtype=torch.float64)
    torch.testing.assert_close(gather_back(spread(t)), t)
    field = SphereField(domain=Bounds.cube(1000.0))
    rays = Rays(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]]))
    samples = UniformSampler(100, disparity=True, near=0.0)(rays, field).samples
    torch.testing.assert_close(samples.starts[:50], torch.arange(50) / 50, atol=0.002, rtol=0)
    torch.testing.assert_close((1 / samples.starts[60:]).diff(), torch.full((39,), -0.02), atol=1e-3, rtol=0)


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="count"):
        UniformSampler(0)
