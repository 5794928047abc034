"""Surfaces fitted to pictures: a box from its own views, and what the loss of two pictures says."""

from dataclasses import replace

import pytest
import torch
import trimesh

from onefield.data.signals import Shape
from onefield.errors import UsageError
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.report import report_mesh
from onefield.renderers.mesh_rasterizer import rasterize_mesh
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.mesh_views import MeshViews, picture_loss, start_at
from onefield.training.recipes import recipe_for
from onefield.types import Mesh


def turned_box(half=(0.5, 0.42, 0.56)):
    box = trimesh.creation.box(extents=[2 * side for side in half])
    box.apply_transform(trimesh.transformations.euler_matrix(0.4, 0.7, 0.2))
    box.apply_translation((5.0, 0.0, -2.0))
    return Mesh(torch.tensor(box.vertices, dtype=torch.float32), torch.tensor(box.faces))


def error(mesh, points):
    closest, _ = closest_point(points, build_tree(mesh.vertices, mesh.faces))
    return float((closest - points).norm(dim=1).mean())


def test_pictures_alone_turn_a_ball_into_a_box():
    shape = Shape.of(turned_box())
    points = corner_points(shape.domain, (12, 12, 12))
    field = FlexiCubesField(shape.domain, (points - torch.tensor(shape.domain.center)).norm(dim=-1) - 0.5)
    on_box = shape.surface_points(2000, torch.Generator().manual_seed(1))
    before = error(field.mesh(), on_box)
    fitted = fit(shape, field, steps=120)
    after = field.mesh()
    assert report_mesh(after).manifold
    assert error(after, on_box) < 0.12 * before
    assert fitted.metrics["iou"] > 0.92
    assert report_mesh(after).volume == pytest.approx(8 * 0.5 * 0.42 * 0.56, rel=0.05)


def test_a_fit_by_name_starts_at_the_shape_and_is_saved(tmp_path):
    shape = Shape.of(turned_box())
    fitted = fit(shape, "flexicubes", steps=1)
    assert isinstance(fitted.field, FlexiCubesField)
    assert fitted.metrics["iou"] > 0.95
    fitted.save(tmp_path / "field.safetensors")
    again = load_fitted(tmp_path / "field.safetensors").reconstruction()
    assert torch.equal(again.vertices, fitted.reconstruction().vertices)
    with pytest.raises(UsageError, match="fits meshes, no image"):
        fit(torch.rand(8, 8), "flexicubes")


def test_a_fit_on_an_octree_has_large_faces_where_the_shape_is_flat(tmp_path):
    shape = Shape.of(turned_box())
    recipe = replace(recipe_for("adaptive-flexicubes", shape), options={"resolution": 32})
    fitted = fit(shape, recipe, steps=2)
    assert set(fitted.field.sizes.tolist()) == {1, 2, 4}
    assert report_mesh(fitted.field.mesh()).watertight
    assert fitted.metrics["iou"] > 0.95
    fitted.save(tmp_path / "field.safetensors")
    again = load_fitted(tmp_path / "field.safetensors").reconstruction()
    assert torch.equal(again.vertices, fitted.reconstruction().vertices)


def test_distances_of_the_shape_are_a_grids_start():
    shape = Shape.of(turned_box())
    field = FlexiCubesField(shape.domain, torch.ones(9, 9, 9))
    start_at(field, shape)
    points = corner_points(shape.domain, (8, 8, 8)).reshape(-1, 3)
    torch.testing.assert_close(field.query(points).distance, shape.distance(points), atol=1e-5, rtol=1e-4)


def test_equal_pictures_cost_nothing_and_each_difference_its_own():
    shape = Shape.of(turned_box())
    camera = MeshViews(shape, 16, torch.Generator().manual_seed(2))._camera()
    truth = rasterize_mesh(shape.mesh.vertices, shape.mesh.faces, camera)
    assert float(picture_loss(truth, truth, 1.0)) == 0
    nearer = (camera.camera_to_world[0, :, 3].float() - shape.mesh.vertices) * 0.02 + shape.mesh.vertices
    seen = rasterize_mesh(nearer, shape.mesh.faces, camera)
    share = float((truth.mask == 1).float().mean())
    mean_depth = float(truth.depth[truth.mask == 1].mean())
    assert float(picture_loss(seen, truth, 1.0)) == pytest.approx(10 * 0.02 * mean_depth * share, rel=0.1)
