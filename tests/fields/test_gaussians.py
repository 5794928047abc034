"""Gaussians as a field: density against line integrals in closed form, colours, and how a set begins."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.fields.gaussians import (
    CONSTANT_HARMONIC,
    GaussianField,
    HasGaussians,
    neighbour_distances,
)
from onefield.fields.lobes import first_lobes
from onefield.kernels.gaussian_footprints import rotations
from onefield.types import Bounds, Gaussians, PointCloud

CUBE = Bounds.cube(1.0)


def one(opacity: float = 0.7, scales=(0.1, 0.2, 0.3), quaternion=(0.9, -0.2, 0.3, 0.4)) -> GaussianField:
    return GaussianField(
        CUBE,
        Gaussians(
            torch.zeros(1, 3),
            torch.tensor([scales]).log(),
            torch.tensor([quaternion]),
            torch.tensor([math.log(opacity / (1 - opacity))]),
            (torch.full((1, 1, 3), 0.2), torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))),
        ),
    )


def test_a_ray_along_the_shortest_axis_absorbs_what_the_splat_covers():
    field = one(0.7)
    axis = rotations(field.quaternions)[0, :, 0]
    along = torch.linspace(-0.5, 0.5, 4001)
    density = field.query(along[:, None] * axis, want=["density"]).density
    covered = 1 - torch.exp(-torch.trapezoid(density, along))
    # the cut at three standard deviations loses 0.27 percent of the line's integral
    assert float(covered.detach()) == pytest.approx(1 - 0.3**0.9973, abs=1e-4)


def test_turning_points_and_gaussian_together_changes_nothing():
    field, plain = one(), one(quaternion=(1.0, 0.0, 0.0, 0.0))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    turned = points @ rotations(field.quaternions)[0].T
    torch.testing.assert_close(
        field.query(turned, want=["density"]).density, plain.query(points, want=["density"]).density
    )


def test_a_quaternion_turns_as_it_should():
    quarter = torch.tensor([[math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]])
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rotations(3 * quarter)[0], expected, atol=1e-6, rtol=0)


def test_colour_is_the_density_weighted_mean_and_grey_where_nothing_is():
    cloud = PointCloud(torch.tensor([[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]]), torch.tensor([[0.9, 0.2, 0.1], [0.1] * 3]))
    field = GaussianField.from_points(CUBE, cloud)
    directions = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)
    asked = field.query(torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.9, 0.9], [-0.3, 0.0, 0.0]]), directions=directions)
    torch.testing.assert_close(asked.color[0], torch.tensor([0.5, 0.15, 0.1]))
    assert asked.color[1].tolist() == [0.5, 0.5, 0.5]
    assert float(asked.density[1].detach()) == 0
    assert asked.color[2, 0] > 0.5 > asked.color[2, 1]


def test_a_cloud_becomes_gaussians_of_its_colours_as_large_as_its_spacing():
    lattice = torch.cartesian_prod(*[torch.arange(4) * 0.1] * 3)
    torch.testing.assert_close(neighbour_distances(lattice), torch.full((64,), 0.1))
    colors = torch.rand(64, 3)
    field = GaussianField.from_points(CUBE, PointCloud(lattice, colors), degree=2)
    assert len(field) == 64
    assert (field.degree, field.most_degree) == (0, 2)
    torch.testing.assert_close(field.log_scales.exp(), torch.full((64, 3), 0.1))
    torch.testing.assert_close(torch.sigmoid(field.opacities), torch.full((64,), 0.1))
    torch.testing.assert_close(field.harmonics[0][:, 0] * CONSTANT_HARMONIC + 0.5, colors)
    assert not field.harmonics[2].any()
    assert isinstance(field, HasGaussians)


def test_points_in_one_place_get_a_size():
    field = GaussianField.from_points(CUBE, PointCloud(torch.zeros(5, 3)))
    assert torch.isfinite(field.log_scales).all()
    assert torch.isfinite(field.query(torch.zeros(1, 3), directions=torch.ones(1, 3)).density).all()


def test_random_gaussians_fill_the_bounds_and_repeat():
    bounds = Bounds((0.0, -1.0, 2.0), (1.0, 1.0, 3.0))
    first, again = (GaussianField.at_random(bounds, 500, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.means, again.means)
    assert bounds.contains(first.means).all()
    assert first.means.amax(0)[1] > 0.9


def test_degrees_rise_and_higher_bands_wait_without_gradient():
    field = GaussianField.at_random(CUBE, 20)
    point, along = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
    for degree in (1, 0, 5):
        field.raise_degree(degree)
    assert field.degree == 3
    lower = GaussianField(CUBE, field.gaussians(), degree=1)
    lower.query(point, directions=along).color.sum().backward()
    assert lower.harmonics[1].grad is not None
    assert lower.harmonics[2].grad is None
    other = GaussianField.at_random(CUBE, 20)
    other.load_state_dict(field.state_dict())
    assert other.degree == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"log_scales": torch.zeros(2, 3)}, "1 Gaussians, but 2 times 3 numbers of the log-scale, which takes 3"),
        ({"harmonics": (torch.zeros(1, 1, 3), torch.zeros(1, 5, 3))}, "1 times 15 .* degree 1, which takes 9"),
        ({"harmonics": tuple(torch.zeros(1, 2 * n + 1, 3) for n in range(5))}, "5 bands"),
        ({"lobes": first_lobes(3, 2)}, "lobes of 3"),
    ],
)
def test_a_set_has_as_much_of_each(change, words):
    """Kernels go by the number of means, and would read what isn't there."""
    with pytest.raises(DataError, match=words):
        GaussianField(CUBE, replace(one().gaussians(), **change))


def test_what_cannot_begin_is_refused():
    with pytest.raises(DataError, match="at least 2 finite points, got 1"):
        GaussianField.from_points(CUBE, PointCloud(torch.zeros(1, 3)))
    with pytest.raises(DataError, match="finite"):
        GaussianField.from_points(CUBE, PointCloud(torch.tensor([[0.0, 0, 0], [math.nan, 0, 0]])))
    with pytest.raises(UsageError, match="at least one, got 0"):
        GaussianField.at_random(CUBE, 0)
    with pytest.raises(UsageError, match="degree 0 to 3, not 4"):
        GaussianField.at_random(CUBE, 5, degree=4)
    with pytest.raises(UsageError, match="degree 3 is not there"):
        GaussianField(CUBE, one().gaussians(), degree=3)
    with pytest.raises(UsageError, match="three dimensions"):
        GaussianField(Bounds.cube(1.0, dimension=2), one().gaussians())
