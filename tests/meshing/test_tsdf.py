"""Fused surfaces against the closed forms that were looked at."""

import math
from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import DataError, ResourceError, UsageError
from onefield.meshing.report import report_mesh
from onefield.meshing.tsdf import DepthView, fuse_views, pixel_weights
from onefield.types import Bounds

RESOLUTION = 48
CELL = 2 / RESOLUTION
CUBE = Bounds.cube(1.0)


def camera_at(position, focal=90.0, size=81):
    """Looks at the origin from anywhere but straight above."""
    place = torch.tensor(position, dtype=torch.float64)
    forward = -place / place.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, place], dim=1)
    return Cameras.pinhole(pose[None], focal, (size / 2, size / 2), size, size)


def ring(count, height, distance=2.5):
    angles = [2 * math.pi * n / count for n in range(count)]
    return [camera_at((distance * math.cos(a), distance * math.sin(a), height)) for a in angles]


def sphere_depth(origins, directions, center, radius):
    """Distance along rays to a sphere, infinite where they miss it."""
    offset = origins - torch.tensor(center)
    along = (offset * directions).sum(-1)
    inside = along.square() - offset.square().sum(-1) + radius * radius
    return torch.where(inside > 0, -along - inside.clamp(min=0).sqrt(), torch.inf)


def box_depth(origins, directions, half):
    """Distance along rays to a box about the origin, infinite where they miss it."""
    low, high = (-half - origins) / directions, (half - origins) / directions
    enter, leave = torch.minimum(low, high).amax(-1), torch.maximum(low, high).amin(-1)
    return torch.where(enter < leave, enter, torch.inf)


def seen(camera, depth_of, color_of=None):
    rays = camera.image_rays(0)
    size = (int(camera.height), int(camera.width))
    depth = depth_of(rays.origins, rays.directions)
    color = None
    if color_of is not None:
        points = rays.origins + depth.nan_to_num(posinf=0.0)[:, None] * rays.directions
        color = color_of(points).reshape(*size, 3)
    return DepthView(camera, depth.reshape(size), color=color)


def ball(radius=0.6, center=(0.0, 0.0, 0.0)):
    return lambda origins, directions: sphere_depth(origins, directions, center, radius)


def rainbow(points):
    return (points + 1) / 2


@pytest.fixture(scope="module")
def fused_ball():
    cameras = [*ring(8, 0.3), *ring(5, 2.0), *ring(5, -2.0)]
    return fuse_views((seen(camera, ball(), rainbow) for camera in cameras), CUBE, resolution=RESOLUTION)


def test_a_ball_seen_from_all_sides_is_closed_and_in_its_place(fused_ball):
    mesh, report = fused_ball.mesh, report_mesh(fused_ball.mesh)
    assert (report.watertight, report.manifold, report.genus, report.components) == (True, True, 0, 1)
    off = mesh.vertices.norm(dim=1) - 0.6
    assert float(off.abs().mean()) < 0.05 * CELL
    assert float(off.abs().max()) < 0.35 * CELL
    assert report.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.01)
    assert (fused_ball.views, fused_ball.cells) == (18, (RESOLUTION,) * 3)


def test_vertices_have_the_colours_that_the_views_show(fused_ball):
    error = (fused_ball.mesh.colors - rainbow(fused_ball.mesh.vertices)).abs()
    assert float(error.mean()) < 0.01
    assert float(error.max()) < 0.06


def test_what_no_view_has_seen_stays_open():
    """A ring of cameras at one side: the half that is turned away gives no face, and no wall closes it."""
    cameras = [camera_at((2.4, y, z)) for y, z in ((0.0, 0.0), (0.8, 0.2), (-0.8, 0.2), (0.2, 0.8), (0.0, -0.8))]
    fusion = fuse_views((seen(camera, ball()) for camera in cameras), CUBE, resolution=RESOLUTION)
    report = report_mesh(fusion.mesh)
    assert not report.watertight
    assert report.boundary_edges > 50
    assert report.manifold
    assert fusion.observed < 0.95
    off = (fusion.mesh.vertices.norm(dim=1) - 0.6).abs()
    assert float(off.mean()) < 0.1 * CELL
    assert float(off.max()) < 1.0 * CELL
    assert float(fusion.mesh.vertices[:, 0].min()) > -0.35
    assert float(fusion.mesh.vertices[:, 0].max()) == pytest.approx(0.6, abs=0.3 * CELL)


def test_a_box_keeps_its_flat_sides_and_its_edges():
    half = torch.tensor([0.5, 0.4, 0.3])
    cameras = [*ring(8, 1.2), *ring(8, -1.2)]
    views = (seen(camera, lambda origins, directions: box_depth(origins, directions, half)) for camera in cameras)
    mesh = fuse_views(views, CUBE, resolution=RESOLUTION).mesh
    outside = mesh.vertices.abs() - half
    distance = outside.clamp(min=0).norm(dim=1) + outside.amax(1).clamp(max=0)
    assert report_mesh(mesh).watertight
    assert float(distance.abs().mean()) < 0.1 * CELL
    assert float(distance.abs().max()) < 1.0 * CELL
    assert mesh.vertices.amax(0).tolist() == pytest.approx(half.tolist(), abs=0.5 * CELL)


def test_a_floater_that_one_view_shows_is_seen_through_by_the_others():
    cameras = ring(8, 0.3)
    views = [seen(camera, ball()) for camera in cameras]
    rays = cameras[0].image_rays(0)
    floater = sphere_depth(rays.origins, rays.directions, (0.8, 0.0, 0.1), 0.1)
    depth = torch.minimum(views[0].depth, floater.reshape(views[0].depth.shape))
    assert int((depth < views[0].depth).sum()) > 20
    views[0] = replace(views[0], depth=depth)
    mesh = fuse_views(views, CUBE, resolution=RESOLUTION).mesh
    assert report_mesh(mesh).components == 1
    assert float((mesh.vertices.norm(dim=1) - 0.6).abs().max()) < 1.0 * CELL


def test_what_a_single_view_shows_is_not_enough():
    with pytest.raises(DataError, match="no surface"):
        fuse_views([seen(camera_at((2.5, 0.0, 0.3)), ball())], CUBE, resolution=RESOLUTION, least_weight=1.5)


def test_uncertain_depths_give_way_to_certain_ones():
    cameras = ring(6, 0.4)
    views = [seen(camera, ball()) for camera in cameras]
    wide = torch.full_like(views[0].depth, 20 * CELL)
    wrong = [replace(view, depth=view.depth - 2 * CELL, spread=wide) for view in views]
    mesh = fuse_views([*views, *wrong], CUBE, resolution=RESOLUTION).mesh
    facing = mesh.vertices[(mesh.vertices[:, 2] - 0.1).abs() < 0.2]
    assert float((facing.norm(dim=1) - 0.6).abs().mean()) < 0.15 * CELL


def test_weights_follow_angle_distance_and_spread():
    """A plane at 60 degrees to the axis, at four times the distance at which a pixel is half the truncation."""
    camera = Cameras.pinhole(torch.eye(3, 4)[None], 100.0, (10.0, 10.0), 20, 20)
    rays = camera.image_rays(0)
    normal = torch.tensor([math.sin(math.pi / 3), 0.0, -math.cos(math.pi / 3)])
    plane = lambda origins, directions: -4.0 * math.cos(math.pi / 3) / (directions @ normal)  # noqa: E731
    view = seen(camera, plane)
    weights = pixel_weights(view, 0.02)
    expected = (rays.directions @ normal).abs().reshape(20, 20) / view.depth
    torch.testing.assert_close(weights, expected, rtol=0.03, atol=0)
    spread = pixel_weights(replace(view, spread=torch.full((20, 20), 0.04)), 0.02)
    torch.testing.assert_close(spread, weights / 5)


def test_free_rays_count_and_unknown_ones_do_not():
    camera = Cameras.pinhole(torch.eye(3, 4)[None], 10.0, (2.0, 2.0), 4, 4)
    depth, spread = torch.full((4, 4), torch.inf), torch.zeros(4, 4)
    depth[0], spread[1] = math.nan, torch.inf
    weights = pixel_weights(DepthView(camera, depth, spread), 0.4)
    assert weights.tolist() == [[0.0] * 4, [0.0] * 4, [1.0] * 4, [1.0] * 4]


def test_refusals():
    view = seen(camera_at((2.5, 0.0, 0.3)), ball())
    with pytest.raises(DataError, match="no views"):
        fuse_views([], CUBE, resolution=8)
    with pytest.raises(UsageError, match="resolution"):
        fuse_views([view], CUBE, resolution=0)
    with pytest.raises(ResourceError, match="resolution of 10"):
        fuse_views([view], CUBE, resolution=20, memory_budget=40_000)
    bent = replace(view, camera=replace(view.camera, distortion=torch.full((1, 8), 0.01, dtype=torch.float64)))
    with pytest.raises(UsageError, match="distortion"):
        fuse_views([bent], CUBE, resolution=8)
    with pytest.raises(UsageError, match="colours"):
        fuse_views([view, seen(view.camera, ball(), rainbow)], CUBE, resolution=8)
    with pytest.raises(UsageError, match=r"depth of a view has shape \(40, 81\), but .* 81 rows and 81 columns"):
        fuse_views([replace(view, depth=view.depth[:40])], CUBE, resolution=8)


def test_a_pixel_whose_colour_is_no_number_spoils_no_other():
    views = [seen(camera, ball(), rainbow) for camera in ring(4, 0.0)]
    views[0].color[40, 40] = torch.nan
    assert bool(torch.isfinite(fuse_views(views, CUBE, resolution=12).mesh.colors).all())
