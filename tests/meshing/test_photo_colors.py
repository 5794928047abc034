"""Colours from photos: of an analytic surface seen by exact cameras, hidden and slanted parts left out."""

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.fields.analytic import SphereField
from onefield.meshing.geometry import vertex_normals
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.photo_colors import PhotoView, blend_photos, photo_gains
from onefield.types import Mesh
from tests.meshing.surfaces import waves

RADIUS, SIZE = 0.6, 160


def camera_at(position, **lens):
    """Looks at the origin."""
    position = torch.tensor(position, dtype=torch.float64)
    forward = -position / position.norm()
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, forward.new_tensor([0.1, 0.2, 1.0])), dim=0)
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, position], dim=1)
    camera = Cameras.pinhole(pose[None], 200.0, (SIZE / 2, SIZE / 2), SIZE, SIZE)
    if lens:
        camera.distortion[0, 0] = lens["k1"]
    return camera


def photo_of_ball(camera):
    """The ball traced along each pixel's ray, black around it, alpha beside it."""
    rays = camera.image_rays(0)
    half = (rays.origins * rays.directions).sum(1)
    root = half**2 - (rays.origins**2).sum(1) + RADIUS**2
    hit = root > 0
    points = rays.origins + (-half - root.clamp(min=0).sqrt())[:, None] * rays.directions
    pixels = waves(points) * hit[:, None]
    return PhotoView(camera, pixels.reshape(SIZE, SIZE, 3), hit.float().reshape(SIZE, SIZE))


@pytest.fixture(scope="module")
def ball():
    mesh = extract_mesh(SphereField(RADIUS), resolution=48)
    return mesh, vertex_normals(mesh)


CORNERS = [(x, y, z) for x in (-1.2, 1.2) for y in (-1.2, 1.2) for z in (-1.2, 1.2)]


@pytest.mark.parametrize("lens", [{}, {"k1": -0.2}], ids=["pinhole", "distorted"])
def test_photos_from_all_around_give_the_colors_back(ball, lens):
    mesh, normals = ball
    views = [photo_of_ball(camera_at(place, **lens)) for place in CORNERS]
    told = []
    colors, seen = blend_photos(
        mesh, mesh.vertices, normals, 0.02, len(views), views.__getitem__, lambda done, total: told.append(done)
    )
    assert bool(seen.all())
    error = (colors - waves(mesh.vertices)).abs()
    assert float(error.mean()) < 0.006
    assert float(error.max()) < 0.06
    assert told == list(range(9))


def test_what_is_turned_away_is_not_seen(ball):
    mesh, normals = ball
    view = photo_of_ball(camera_at((0.0, 0.0, 2.0)))
    colors, seen = blend_photos(mesh, mesh.vertices, normals, 0.02, 1, lambda number: view)
    # the outline is where z is RADIUS squared over the distance; LEAST_COSINE keeps off it
    assert bool((mesh.vertices[seen][:, 2] > 0.18).all())
    assert bool(seen[mesh.vertices[:, 2] > 0.4].all())
    assert float(colors[~seen].abs().max()) == 0


def test_what_something_hides_is_not_seen(ball):
    """A plate between the camera and one half of the ball."""
    mesh, normals = ball
    plate = torch.tensor([[0.0, -2, 1], [2, -2, 1], [2, 2, 1], [0, 2, 1]])
    faces = torch.cat([mesh.faces, len(mesh.vertices) + torch.tensor([[0, 1, 2], [0, 2, 3]])])
    both = Mesh(torch.cat([mesh.vertices, plate]), faces)
    view = photo_of_ball(camera_at((0.0, 0.0, 3.0)))
    _, seen = blend_photos(both, mesh.vertices, normals, 0.02, 1, lambda number: view)
    front = mesh.vertices[:, 2] > 0.4
    assert not bool(seen[front & (mesh.vertices[:, 0] > 0.05)].any())
    assert bool(seen[front & (mesh.vertices[:, 0] < -0.05)].all())


def test_a_view_counts_by_its_pixels(ball):
    """Black seen straight from 0.9 away, and white from 1.5 to the side: shares of light as cosines over squares."""
    mesh, normals = ball

    def one_color(camera, level):
        return PhotoView(camera, torch.full((SIZE, SIZE, 3), level))

    top = mesh.vertices[:, 2] > 0.59
    # black and white are not levelled
    views = [one_color(camera_at((0.0, 0.0, 1.5)), 0.0), one_color(camera_at((1.5, 0.0, 1.5)), 1.0)]
    colors, _ = blend_photos(mesh, mesh.vertices, normals, 0.02, 2, views.__getitem__)
    straight, aside = 0.9**-2, 0.9 * (0.9**2 + 1.5**2) ** -1.5
    light = aside / (straight + aside)
    assert float(colors[top].mean()) == pytest.approx(1.055 * light ** (1 / 2.4) - 0.055, abs=0.02)


def test_light_is_mixed_not_its_code(ball):
    """Black and white from two mirrored places: half the light, which sRGB writes as 0.735."""
    mesh, normals = ball
    places = [(math.sin(a) * 2, 0.0, math.cos(a) * 2) for a in (0.3, -0.3)]
    levels = iter((0.0, 1.0))
    views = [PhotoView(camera_at(place), torch.full((SIZE, SIZE, 3), next(levels))) for place in places]
    colors, _ = blend_photos(mesh, mesh.vertices, normals, 0.02, 2, views.__getitem__)
    middle = mesh.vertices[:, 0].abs() < 1e-3
    middle &= mesh.vertices[:, 2] > 0.3
    assert float(colors[middle].mean()) == pytest.approx(0.735, abs=0.02)


def test_masked_pixels_do_not_count(ball):
    mesh, normals = ball
    camera = camera_at((0.0, 0.0, 2.0))
    counts = torch.ones(SIZE, SIZE)
    counts[:, : SIZE // 2] = 0
    _, seen = blend_photos(
        mesh, mesh.vertices, normals, 0.02, 1, lambda number: PhotoView(camera, torch.ones(SIZE, SIZE, 3), counts)
    )
    right = camera.project(torch.tensor(0), mesh.vertices.double())[0][:, 0] > SIZE / 2 + 4
    assert bool(seen[right & (mesh.vertices[:, 2] > 0.4)].all())
    left = camera.project(torch.tensor(0), mesh.vertices.double())[0][:, 0] < SIZE / 2 - 4
    assert not bool(seen[left].any())


def test_photos_of_different_exposure_blend_without_a_step(ball):
    """One of two photos has half the light of the other: all points come out darker by the root of that."""
    mesh, normals = ball
    views = [photo_of_ball(camera_at(place)) for place in ((1.5, 0.9, 0.0), (1.5, -0.9, 0.0))]
    # halves of light, by sRGB's curve, which is left linear at its dark end
    linear = torch.where(
        views[1].pixels <= 0.04045, views[1].pixels / 12.92, ((views[1].pixels + 0.055) / 1.055) ** 2.4
    )
    halved = 1.055 * (linear / 2).clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    views[1] = PhotoView(views[1].camera, halved, views[1].counts)
    gains = photo_gains(mesh, mesh.vertices, normals, 0.02, 2, views.__getitem__)
    torch.testing.assert_close(gains[0], torch.full((3,), 0.5**0.5), rtol=0.02, atol=0)
    torch.testing.assert_close(gains[1], torch.full((3,), 2**0.5), rtol=0.02, atol=0)
    colors, seen = blend_photos(mesh, mesh.vertices, normals, 0.02, 2, views.__getitem__)
    truth = waves(mesh.vertices)
    bright = seen & (truth > 0.3).all(1)
    shares = (((colors + 0.055) / (truth + 0.055)) ** 2.4)[bright]
    assert int(bright.sum()) > 300
    assert float((shares - 0.5**0.5).abs().mean()) < 0.015
