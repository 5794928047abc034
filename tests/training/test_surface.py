"""Surfaces of methods: the choice of an extractor, and fusing what the training views of a field see."""

import math
from dataclasses import replace

import pytest
import torch
import trimesh

from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.errors import UsageError
from onefield.fields.analytic import Material, SphereField
from onefield.fields.gaussians import CONSTANT_HARMONIC, GaussianField
from onefield.fields.wrappers import DistanceAsDensity
from onefield.meshing.report import report_mesh
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.splat import SplatRenderer
from onefield.renderers.volume import VolumeRenderer
from onefield.training.depth_views import depth_cameras, depth_views
from onefield.training.method import Method
from onefield.training.poses import PoseRefinement
from onefield.training.settings import TrainingSettings
from onefield.training.surface import choose_extractor, method_surface, seen_from_one_side, simplified
from onefield.types import Bounds, Gaussians, Mesh

RADIUS, RESOLUTION = 0.5, 32
CELL = 2 / RESOLUTION


class Haze(SphereField):
    """A ball of density alone."""

    provides = frozenset({"density", "color"})


def method(field):
    return Method("test", field, VolumeRenderer(UniformSampler(128)), (), TrainingSettings())


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=16, size=48)
    return replace(load_scene(folder), bounded=False)


@pytest.fixture(scope="module")
def ball():
    return method(Haze(RADIUS, material=Material(density=200.0, color=(0.9, 0.3, 0.1))))


def test_auto_takes_what_serves_field_and_scene(scene, ball):
    assert choose_extractor(ball, scene).extractor == "tsdf"
    assert choose_extractor(ball, replace(scene, bounded=True)).extractor == "marching-cubes"
    assert choose_extractor(ball, scene, isovalue=3.0).extractor == "marching-cubes"
    assert choose_extractor(method(DistanceAsDensity(SphereField(RADIUS))), scene).extractor == "marching-cubes"
    assert choose_extractor(ball, replace(scene, train_indices=scene.train_indices[:0])).extractor == "marching-cubes"
    assert choose_extractor(ball, scene, "marching-cubes").extractor == "marching-cubes"
    assert choose_extractor(ball, replace(scene, bounded=True), "tsdf").extractor == "tsdf"


def test_objects_seen_from_one_side_are_fused(scene, ball):
    towards = torch.nn.functional.normalize(scene.cameras.positions, dim=1)
    near_one = (towards @ towards[0]).argsort(descending=True)[:3]
    one_side = replace(scene, bounded=True, train_indices=near_one)
    assert not seen_from_one_side(scene)
    assert seen_from_one_side(one_side)
    assert choose_extractor(ball, one_side).extractor == "tsdf"
    assert choose_extractor(ball, one_side, isovalue=3.0).extractor == "marching-cubes"


def test_mistakes_are_told(scene, ball):
    with pytest.raises(UsageError, match="did you mean 'tsdf'"):
        choose_extractor(ball, scene, "tsfd")
    with pytest.raises(UsageError, match="isovalue"):
        choose_extractor(ball, scene, "tsdf", 1.0)


def test_a_dense_ball_is_fused_where_it_is(scene, ball):
    told = []
    surface = method_surface(
        ball, scene, choose_extractor(ball, scene), resolution=RESOLUTION,
        observe=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    count = len(scene.train_indices)
    assert surface.views == count
    assert told == [(done, count) for done in range(count + 1)]
    # half the light is gone a little behind the surface
    radius = RADIUS - math.log(2) / 200
    off = (surface.mesh.vertices.norm(dim=1) - radius).abs()
    assert float(off.mean()) < 0.2 * CELL
    assert report_mesh(surface.mesh).components == 1
    torch.testing.assert_close(surface.mesh.colors.mean(0), torch.tensor([0.9, 0.3, 0.1]), atol=0.02, rtol=0)


def test_a_ball_of_gaussians_is_fused_where_it_is(scene):
    outward = torch.nn.functional.normalize(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    flat = torch.tensor([0.03, 0.03, 0.03]).log().expand(3000, 3)
    constant = ((torch.tensor([0.9, 0.3, 0.1]) - 0.5) / CONSTANT_HARMONIC).expand(3000, 1, 3)
    quaternions = torch.tensor([1.0, 0, 0, 0]).expand(3000, 4)
    shell = Gaussians(RADIUS * outward, flat, quaternions, torch.full((3000,), 4.0), (constant,))
    splats = Method("test", GaussianField(Bounds.cube(1.0), shell), SplatRenderer(), (), TrainingSettings())
    choice = choose_extractor(splats, scene)
    assert choice.extractor == "tsdf"
    surface = method_surface(splats, scene, choice, resolution=RESOLUTION)
    off = (surface.mesh.vertices.norm(dim=1) - RADIUS).abs()
    # depths are those of middles, which are seen a little off the rays through them
    assert float(off.mean()) < 0.7 * CELL
    torch.testing.assert_close(surface.mesh.colors.mean(0), torch.tensor([0.9, 0.3, 0.1]), atol=0.02, rtol=0)


def test_a_ball_of_surfels_is_fused_even_where_scenes_are_bounded(scene):
    outward = torch.nn.functional.normalize(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    flat = torch.tensor([0.02, 0.02, 1e-4]).log().expand(3000, 3)
    constant = ((torch.tensor([0.9, 0.3, 0.1]) - 0.5) / CONSTANT_HARMONIC).expand(3000, 1, 3)
    # half way from z to the normal
    quaternions = torch.stack([1 + outward[:, 2], -outward[:, 1], outward[:, 0], torch.zeros(3000)], dim=1)
    shell = Gaussians(RADIUS * outward, flat, quaternions, torch.full((3000,), 4.0), (constant,))
    renderer = SplatRenderer(primitive="surfels")
    surfels = Method("test", GaussianField(Bounds.cube(1.0), shell), renderer, (), TrainingSettings())
    choice = choose_extractor(surfels, replace(scene, bounded=True))
    assert choice.extractor == "tsdf"
    surface = method_surface(surfels, scene, choice, resolution=RESOLUTION)
    off = (surface.mesh.vertices.norm(dim=1) - RADIUS).abs()
    # pixels are far larger than these discs
    assert float(off.mean()) < 0.7 * CELL


def test_a_crop_keeps_the_size_of_cells(scene, ball):
    box = Bounds((-0.2, -0.2, 0.1), (0.9, 0.9, 0.6))
    mesh = method_surface(ball, scene, choose_extractor(ball, scene), bounds=box, resolution=RESOLUTION).mesh
    assert bool(box.contains(mesh.vertices).all())
    assert float((mesh.vertices.norm(dim=1) - RADIUS + math.log(2) / 200).abs().mean()) < 0.2 * CELL
    whole = method_surface(ball, scene, choose_extractor(ball, scene), bounds=scene.bounds, resolution=RESOLUTION).mesh
    areas = [float(report_mesh(m).area) / len(m.faces) for m in (mesh, whole)]
    assert areas[0] == pytest.approx(areas[1], rel=0.2)
    assert not report_mesh(mesh).watertight


def test_dual_marching_cubes_is_taken_where_asked(scene, ball):
    choice = choose_extractor(ball, scene, "dual-marching-cubes")
    mesh = method_surface(ball, scene, choice, resolution=24).mesh
    assert report_mesh(mesh).watertight
    other = method_surface(ball, scene, choose_extractor(ball, scene, "marching-cubes"), resolution=24).mesh
    assert len(mesh.faces) != len(other.faces) or not torch.equal(mesh.faces, other.faces)


def test_faces_are_simplified(scene, ball):
    choice = choose_extractor(ball, scene, "marching-cubes")
    mesh = method_surface(ball, scene, choice, resolution=24, faces=300).mesh
    assert 200 <= len(mesh.faces) <= 310
    assert mesh.colors.shape == mesh.vertices.shape


def test_what_simplifying_tears_is_closed_where_the_mesh_was(monkeypatch):
    box = trimesh.creation.box()
    closed = Mesh(torch.tensor(box.vertices, dtype=torch.float32), torch.tensor(box.faces))
    torn = Mesh(closed.vertices, closed.faces[:-1])
    monkeypatch.setattr("onefield.training.surface.decimate", lambda mesh, faces: torn)
    assert report_mesh(simplified(closed, 4, smallest=0.01, holes=0.02)).watertight
    assert not report_mesh(simplified(torn, 4, smallest=0.01, holes=0.02)).watertight


def test_pixels_are_about_a_cell_at_the_middle_and_no_smaller_than_the_photos(scene, ball):
    cameras = depth_cameras(ball, scene, scene.bounds, 0.1)
    pixels = cameras.positions.norm(dim=1) / cameras.focal.mean(1)
    assert ((pixels > 0.09) & (pixels < 0.11)).all()
    fine = depth_cameras(ball, scene, scene.bounds, 1e-3)
    assert torch.equal(fine.width, scene.cameras.width[scene.train_indices])
    assert len(depth_cameras(ball, scene, scene.bounds, 0.1, most=3)) == 3


def test_corrected_poses_are_taken(scene, ball):
    poses = PoseRefinement(scene.cameras, scene.train_indices)
    with torch.no_grad():
        for parameter in poses.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    moved = depth_cameras(replace(ball, poses=poses), scene, scene.bounds, 0.1)
    still = depth_cameras(ball, scene, scene.bounds, 0.1)
    assert not torch.allclose(moved.camera_to_world, still.camera_to_world, atol=1e-4)


def test_views_tell_the_median_and_how_sure_it_is(scene):
    """In fog of density 6 the middle half of the light is lost between depths that differ by ln 3 / 6."""
    fog = method(Haze(0.4, material=Material(density=6.0)))
    cameras = depth_cameras(fog, scene, scene.bounds, 0.1, most=1)
    (view,) = depth_views(fog, scene, cameras, scene.bounds, 0.0)
    middle = tuple(side // 2 for side in view.depth.shape)
    distance = float(cameras.positions.norm())
    assert float(view.depth[middle]) == pytest.approx(distance - 0.4 + math.log(2) / 6, abs=0.03)
    assert float(view.spread[middle]) == pytest.approx(math.log(3) / 6, abs=0.03)
    assert torch.isinf(view.depth[0, 0])
    assert float(view.spread[0, 0]) == 0
