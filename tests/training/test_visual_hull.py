"""The visual hull against a ball whose outlines are known exactly."""

from dataclasses import replace

import pytest
import torch

from onefield.data.formats import load_scene
from onefield.training.visual_hull import hull_box, hull_distances, inside_outlines
from tests.outlined_scene import CENTER, RADII, off_surface, write_ellipsoid_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return load_scene(write_ellipsoid_scene(tmp_path_factory.mktemp("scene"), views=24, size=80))


def ellipsoid(scene, factor, count=400):
    """Places on the ellipsoid made so much larger about its middle, in the scene's frame."""
    directions = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    units = torch.nn.functional.normalize(directions, dim=1)
    return scene.transform.apply(torch.from_numpy(CENTER) + factor * units * torch.from_numpy(RADII)).float()


def test_distances_are_those_to_the_surface_where_outlines_tell(scene):
    pixel = float(scene.transform.apply_distances(3.0)) / float(scene.cameras.focal[0, 0])
    inside = hull_distances(scene, ellipsoid(scene, 0.9))
    assert (inside < 0).all()
    # the hull is never smaller than what it holds, up to a pixel
    assert (hull_distances(scene, ellipsoid(scene, 1.0)) < pixel).all()
    assert (hull_distances(scene, ellipsoid(scene, 1.15)) > 0).float().mean() > 0.9
    outside = ellipsoid(scene, 1.3)
    away = torch.from_numpy(off_surface(scene.transform.invert(outside).numpy())) * scene.transform.scale
    found = hull_distances(scene, outside).double()
    assert (found < away + pixel).all()
    assert (found / away).median() > 0.8


def test_the_box_holds_the_shape_with_room_and_little_more(scene):
    surface = ellipsoid(scene, 1.0, 4000)
    box = hull_box(scene)
    low, high = surface.amin(0), surface.amax(0)
    for axis in range(3):
        assert low[axis] - 0.2 < box.minimum[axis] < low[axis] - 0.02
        assert high[axis] + 0.02 < box.maximum[axis] < high[axis] + 0.2


def test_what_hardly_any_view_shows_is_empty(scene):
    beside = torch.tensor([[0.0, 0.0, 30.0], [25.0, 0.0, 0.0]])
    assert (hull_distances(scene, beside) == scene.bounds.diagonal).all()
    few = replace(scene, train_indices=scene.train_indices[:1])
    # one view alone cuts no cone off behind
    assert (hull_distances(few, ellipsoid(scene, 0.5)) < 0).all()


def test_points_within_outlines_are_those_within_the_hull_to_a_pixel(scene):
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pixel = float(scene.transform.apply_distances(3.0)) / float(scene.cameras.focal[0, 0])
    distances, inside = hull_distances(scene, points), inside_outlines(scene, points)
    assert inside[distances < -pixel].all()
    assert not inside[distances > 2 * pixel].any()
    assert inside_outlines(scene, ellipsoid(scene, 0.98)).all()
    beside = torch.tensor([[0.0, 0.0, 30.0], [25.0, 0.0, 0.0]])
    assert not inside_outlines(scene, beside).any()
