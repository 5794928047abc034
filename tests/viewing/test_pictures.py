"""Pictures of shapes whose views are known."""

import math
from types import SimpleNamespace

import numpy as np
import torch

from onefield.fields.analytic import SphereField
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.types import Bounds, RenderedImage
from onefield.viewing.pictures import FARTHEST, FieldPainter, Picture, View, depth_colors

AHEAD = View(np.eye(4)[:3], math.radians(90), 80, 60)


class Wall:
    """A plane at z = 2 that covers the left half of any view along z."""

    def paint(self, camera, quantity, crop):
        rays = camera.image_rays(0)
        shape = int(camera.height[0]), int(camera.width[0])
        left = (rays.directions[:, 0] < 0).float().reshape(shape)
        normal = torch.tensor([0.0, 0.0, -1.0]).expand(*shape, 3)
        color = torch.cat([rays.directions[:, :2].abs(), torch.ones(len(rays), 1)], 1).reshape(*shape, 3)
        return RenderedImage(color, (2 / rays.directions[:, 2]).reshape(shape) * left, left, normal)


def painted(quantity, rows, view=AHEAD, size=(40, 30), painter=None):
    picture = Picture(view, size, quantity, None)
    while not picture.done:
        picture.paint_rows(painter or Wall(), rows)
    return picture


def test_a_picture_painted_in_strips_is_the_picture():
    np.testing.assert_array_equal(painted("color", 7).colors(), painted("color", 30).colors())
    np.testing.assert_array_equal(painted("color", 1).hiding_depth(), painted("color", 30).hiding_depth())


def test_depth_that_hides_lies_along_the_axis():
    depth = painted("color", 30).hiding_depth()
    np.testing.assert_allclose(depth[:, :20], 2.0, atol=1e-5)
    assert (depth[:, 20:] == FARTHEST).all()


def test_opacity_and_normals_become_colors():
    opacity, normal = painted("opacity", 30).colors(), painted("normal", 30).colors()
    assert (opacity[:, :20] == 255).all()
    assert (opacity[:, 20:] == 0).all()
    assert (normal[:, :20] == [128, 128, 0]).all()
    assert (normal[:, 20:] == 255).all()


def test_near_is_yellow_far_is_violet_and_nothing_is_white():
    colors = depth_colors(np.array([[1.0, 2.0, 0.0]]), np.array([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(colors[0] * 255, [[253, 231, 37], [68, 1, 84], [255, 255, 255]], atol=0.5)


def looking_down_x():
    """From (-3, 0, 0) along x, z up: y points to the left of the picture."""
    axes = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return View(np.concatenate([axes, [[-3.0], [0.0], [0.0]]], axis=1), math.radians(40), 60, 60)


def test_a_crop_leaves_out_what_lies_outside():
    method = SimpleNamespace(field=SphereField(), renderer=VolumeRenderer(UniformSampler(64)))
    painter = FieldPainter(method, SimpleNamespace(limited=lambda rays, cameras: rays))
    whole, half = (Picture(looking_down_x(), (24, 24), "opacity", crop) for crop in (None, LEFT))
    for picture in (whole, half):
        picture.paint_rows(painter, 24)
    everything, rest = whole.colors()[..., 0].astype(float), half.colors()[..., 0].astype(float)
    assert everything[12, 12] > 200
    assert rest[:, :11].sum() > 0.9 * everything[:, :11].sum()
    assert rest[:, 13:].sum() == 0


LEFT = Bounds((-1.0, 0.0, -1.0), (1.0, 1.0, 1.0))
