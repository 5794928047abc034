"""Textures hold at each place what was put on the surface there, and nothing between the charts bleeds in."""

import sys

import pytest
import torch

from onefield.errors import DataError, ResourceError, UsageError
from onefield.fields.analytic import SphereField
from onefield.meshing.atlas import unwrap
from onefield.meshing.geometry import transformed
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.preview import orbit_camera, render_preview
from onefield.meshing.texture import looked_up, picture_of, texels_of
from onefield.types import Mesh
from tests.meshing.surfaces import random_places, textured_ball, waves


@pytest.fixture(scope="module")
def ball():
    return textured_ball()


def on_surface(mesh, faces, weights):
    return (mesh.vertices[mesh.faces[faces]] * weights[..., None]).sum(1)


def read_back(mesh, picture, faces, weights):
    places = (mesh.texture.coordinates[faces] * weights[..., None]).sum(1)
    return looked_up(picture, places)


def test_colors_read_back_at_random_points_of_the_surface(ball):
    faces, weights = random_places(ball)
    error = (read_back(ball, ball.texture.color, faces, weights) - waves(on_surface(ball, faces, weights))).abs()
    assert float(error.mean()) < 0.004
    assert float(error.quantile(0.99)) < 0.02


def test_texels_lie_where_their_weights_say(ball):
    texels = texels_of(ball, ball.texture.coordinates, 128)
    assert float((texels.points - on_surface(ball, texels.faces, texels.weights)).abs().max()) < 1e-6
    assert float((texels.points.norm(dim=1) - 0.6).abs().max()) < 0.02
    outward = torch.nn.functional.normalize(texels.points, dim=1)
    assert float((texels.normals * outward).sum(1).min()) > 0.98


def test_halved_pictures_stay_clear_of_what_lies_between_charts(ball):
    """Halved three times, as a distant look takes them: texels that belong to no chart would darken them."""
    texels = texels_of(ball, ball.texture.coordinates, 256)
    white = picture_of(texels, torch.ones(len(texels.points), 3))
    assert int(white.min()) == 255
    small = torch.nn.functional.avg_pool2d(ball.texture.color.permute(2, 0, 1)[None].float(), 8)[0].permute(1, 2, 0)
    faces, weights = random_places(ball)
    seen = read_back(ball, small.round().to(torch.uint8), faces, weights)
    assert float((seen - waves(on_surface(ball, faces, weights))).abs().mean()) < 0.05


def test_charts_do_not_overlap_and_none_is_mirrored(ball):
    coordinates = ball.texture.coordinates.double()
    first, second = coordinates[:, 1] - coordinates[:, 0], coordinates[:, 2] - coordinates[:, 0]
    areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    # y runs down, so that what is counter-clockwise on the surface has negative area
    assert float((areas < 0).float().mean()) > 0.99
    covered = float(texels_of(ball, ball.texture.coordinates, 512).covered.float().mean())
    assert covered == pytest.approx(float(areas.abs().sum()), rel=0.02)
    assert bool(((coordinates >= 0) & (coordinates <= 1)).all())


def test_a_picture_of_a_textured_mesh_shows_the_texture(ball):
    camera = orbit_camera(ball, width=64, height=64)
    shown = render_preview(ball, camera, shaded=False, supersampling=1)
    plain = Mesh(ball.vertices, ball.faces, colors=waves(ball.vertices))
    expected = render_preview(plain, camera, shaded=False, supersampling=1)
    assert float((shown - expected).abs().max()) < 0.05


def test_a_mirrored_mesh_keeps_its_texture_in_place(ball):
    mirrored = transformed(ball, torch.diag(torch.tensor([-1.0, 1, 1, 1])))
    faces, weights = random_places(ball, 500)
    seen = read_back(mirrored, mirrored.texture.color, faces, weights)
    points = on_surface(mirrored, faces, weights.double()) * torch.tensor([-1.0, 1, 1])
    assert float((seen - waves(points.float())).abs().mean()) < 0.004


@pytest.mark.parametrize("size", [0, 5, 100_000])
def test_impossible_sizes_are_refused(ball, size):
    with pytest.raises(UsageError, match="64 to 8192"):
        unwrap(ball, size)


def test_nothing_has_no_texture():
    with pytest.raises(DataError, match="no faces"):
        unwrap(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), 64)


def test_a_missing_library_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(ResourceError, match=r"pip install \"onefield\[mesh\]\""):
        unwrap(extract_mesh(SphereField(0.5), resolution=4), 64)


def test_a_texture_of_another_mesh_is_refused(ball):
    with pytest.raises(DataError, match="can't lie on"):
        Mesh(ball.vertices, ball.faces[:10], texture=ball.texture)
