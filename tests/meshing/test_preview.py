"""Pictures of meshes."""

import math
from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import DataError, UsageError
from onefield.fields.analytic import SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.preview import FIELD_OF_VIEW, FILLED, orbit_camera, render_preview, telling_views
from onefield.types import Mesh


@pytest.fixture(scope="module")
def ball():
    return extract_mesh(SphereField(0.5), resolution=40)


def test_silhouette_of_a_sphere(ball):
    """The outline has the angle asin(radius / distance)."""
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2]]])
    camera = Cameras.pinhole(pose, 100.0, (40.0, 30.0), 80, 60)
    picture = render_preview(ball, camera, background=(0.0, 0.0, 1.0), supersampling=1)
    assert picture.shape == (60, 80, 3)
    covered = (picture != torch.tensor([0.0, 0.0, 1.0])).any(-1)
    radius = 100 * math.tan(math.asin(0.5 / 2))
    assert float(covered.sum()) == pytest.approx(math.pi * radius**2, rel=0.01)
    y, x = covered.nonzero().float().add(0.5).unbind(1)
    assert (float(x.mean()), float(y.mean())) == pytest.approx((40, 30), abs=0.1)


def test_headlight_is_brightest_where_the_surface_faces_the_camera(ball):
    camera = orbit_camera(ball, width=60, height=40)
    picture = render_preview(replace(ball, colors=torch.ones_like(ball.vertices)), camera, background=(0.0, 0.0, 0.0))
    assert float(picture[20, 30].min()) > 0.98
    bright = picture[20, :, 0]
    assert (bright[31:45].diff() <= 0.002).all()


def test_vertex_colors_are_shown_as_they_are_without_shading(ball):
    colored = replace(ball, colors=(ball.vertices + 0.5).clamp(0, 1))
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 3]]])
    camera = Cameras.pinhole(pose, 80.0, (20.0, 20.0), 40, 40)
    picture = render_preview(colored, camera, shaded=False, supersampling=3)
    # straight ahead the top of the ball is at (0, 0, 0.5)
    assert torch.allclose(picture[19:21, 19:21].mean((0, 1)), torch.tensor([0.5, 0.5, 1.0]), atol=0.02)
    # right is +x, up is +y
    assert picture[20, 26, 0] > picture[20, 14, 0]
    assert picture[14, 20, 1] > picture[26, 20, 1]


def test_orbit_camera_holds_the_whole_mesh(ball):
    moved = replace(ball, vertices=ball.vertices.double() + torch.tensor([5e5, 5e6, 30.0], dtype=torch.float64))
    camera = orbit_camera(moved, width=90, height=60, azimuth=2.0, elevation=-0.4)
    covered = (render_preview(moved, camera, background=(0.0, 1.0, 0.0), supersampling=1)[..., 2] > 0).float()
    assert float(covered[:, 0].sum() + covered[:, -1].sum() + covered[0].sum() + covered[-1].sum()) == 0
    radius = 0.5 * FILLED * 60
    assert float(covered.sum()) == pytest.approx(math.pi * radius**2, rel=0.03)
    assert 0 < FIELD_OF_VIEW < math.pi


def test_up_is_up():
    """A small ball above a large one appears in the upper half."""
    vertices = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 1.0]])
    mesh = Mesh(vertices, torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]))
    covered = render_preview(mesh, orbit_camera(mesh, width=50, height=50), background=(1.0, 0.0, 0.0))[..., 1] > 0
    rows = covered.float().sum(1)
    filled = rows.nonzero().flatten()
    assert rows[filled[0]] < rows[filled[-1] - 3]


def test_refusals(ball):
    camera = orbit_camera(ball)
    with pytest.raises(UsageError, match="one camera, got 2"):
        render_preview(ball, Cameras.concatenate([camera, camera]))
    with pytest.raises(UsageError, match="elevation"):
        orbit_camera(ball, elevation=2.0)
    with pytest.raises(DataError, match="no faces"):
        orbit_camera(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)))


def test_the_telling_views_are_the_middle_one_and_the_farthest():
    poses = torch.eye(3, 4, dtype=torch.float64).repeat(5, 1, 1)
    poses[:, 0, 3] = torch.tensor([0.0, 3.0, 1.0, 1.5, 9.0])
    cameras = Cameras.pinhole(poses, 10.0, (5.0, 5.0), 10, 10)
    assert telling_views(cameras) == (3, 4)
    assert telling_views(cameras[[1, 1]]) == (0,)
    with pytest.raises(UsageError, match="no cameras"):
        telling_views(cameras[[]])
