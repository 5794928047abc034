import json

import numpy as np
import pytest
import torch

from onefield.data.points import Points
from onefield.data.signals import Shape
from onefield.errors import DataError, UsageError
from onefield.export.formats import read_mesh
from onefield.meshing.report import report_mesh
from onefield.renderers.sphere_tracing import SphereTracingRenderer
from onefield.tools.main import main
from onefield.training.closest_points import Discs, open_surface_of
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.point_orientation import levelled
from onefield.types import Mesh, PointCloud, Rays
from tests.open_surfaces import AREAS, RADIUS, half_sphere


def cap(count: int = 4000) -> np.ndarray:
    """Points all over the half sphere, in no order."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(count, 3))
    directions[:, 2] = np.abs(directions[:, 2])
    return RADIUS * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def flat(count: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3)) * [1.0, 1.0, 0.0]


@pytest.fixture(scope="module")
def fitted():
    return fit(PointCloud(torch.tensor(cap())), "csp", steps=300)


def test_discs_are_nearer_to_the_surface_than_their_points():
    points = Points.of(PointCloud(torch.tensor(flat())))
    asked = torch.tensor(np.random.default_rng(1).random((500, 3)) * [1.0, 1.0, 0.1], dtype=torch.float32)
    found = Discs.of(points).closest(asked)
    torch.testing.assert_close(found[:, 2], torch.zeros(500), atol=1e-6, rtol=0)
    aside = (found - asked)[:, :2].norm(dim=1)
    nearest = torch.cdist(asked[:, :2], points.cloud.points[:, :2]).amin(1)
    assert (aside <= nearest + 1e-6).all()
    assert aside.mean() < 0.3 * nearest.mean()


def test_points_on_an_open_surface_give_its_closest_points(fitted):
    assert fitted.metrics["point_distance"] < 5e-3
    near = torch.tensor(cap(500) * np.random.default_rng(2).uniform(0.9, 1.1, (500, 1)), dtype=torch.float32)
    error = (fitted(near) - half_sphere(near)).norm(dim=1)
    assert error.mean() < 0.02 * RADIUS
    distance = fitted.field.query(near, want=("distance",)).distance
    torch.testing.assert_close(distance, (fitted(near) - near).norm(dim=1))


def test_the_mesh_of_points_on_an_open_surface_is_open(fitted):
    report = report_mesh(open_surface_of(fitted.field, resolution=40))
    assert (report.components, report.boundaries) == (1, 1)
    assert report.area == pytest.approx(AREAS[half_sphere], rel=0.05)


def test_a_noisy_sheet_is_levelled_and_a_clean_one_left():
    sheet = flat(4000)
    assert levelled(sheet) is sheet
    noise = 0.02 * np.random.default_rng(5).normal(size=sheet.shape)
    found = levelled(sheet + noise)
    middle = (np.abs(found[:, :2] - 0.5) < 0.4).all(1)
    assert np.abs(found[middle, 2]).mean() < 0.3 * np.abs(noise[:, 2]).mean()
    assert np.abs(found[:, :2] - (sheet + noise)[:, :2]).mean() < 0.01


def test_rays_from_both_sides_meet_what_was_learned(fitted):
    """Normals look back at the rays, since the surface has no outside."""
    places = np.random.default_rng(4).uniform(-0.5, 0.5, (300, 2)) * RADIUS
    places = torch.tensor(places, dtype=torch.float32)
    height = (RADIUS**2 - places.square().sum(1)).sqrt()
    outward = torch.cat([places, height[:, None]], dim=1) / RADIUS
    renderer = SphereTracingRenderer(tolerance=0.02 * RADIUS)
    for sign in (1.0, -1.0):
        starts = torch.cat([places, torch.full((300, 1), 2.0 * sign)], dim=1)
        way = torch.tensor([0.0, 0.0, -sign]).expand(300, 3)
        seen = renderer.render(fitted.field, Rays(starts, way), normals=True)
        assert seen.opacity.mean() > 0.99
        met = seen.opacity > 0.5
        assert (seen.depth - (2 - sign * height))[met].abs().mean() < 0.02 * RADIUS
        assert (seen.normal * sign * outward).sum(1)[met].mean() > 0.97


def test_a_saved_fit_answers_alike(fitted, tmp_path):
    fitted.save(tmp_path / "field.safetensors")
    points = torch.rand(50, 3)
    assert torch.equal(load_fitted(tmp_path / "field.safetensors")(points), fitted(points))


def test_a_mesh_gives_exact_closest_points_and_a_field_of_ones_own_is_trained():
    square = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    own = fit(square, "csp", steps=1).field
    fitted = fit(Shape.of(square), own, steps=150)
    assert fitted.field is own
    assert fitted.metrics["closest_point_error"] < 0.02


def test_what_is_no_surface_is_refused():
    with pytest.raises(UsageError, match="'csp' fits surfaces"):
        fit(np.zeros((8, 8)), "csp")
    with pytest.raises(DataError, match="take the field 'csp'"):
        fit(PointCloud(torch.tensor(flat())))
    with pytest.raises(DataError, match="on a line"):
        Points.of(PointCloud(torch.tensor(flat() * [1.0, 0.0, 0.0])))


def test_the_command_writes_an_open_mesh_of_a_flat_cloud(tmp_path, capsys):
    np.save(tmp_path / "sheet.npy", flat())
    call = ["fit", str(tmp_path / "sheet.npy"), "--field", "csp", "--steps", "200", "--output", str(tmp_path / "fit")]
    assert main([*call, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["mesh"]["boundaries"] >= 1
    assert not report_mesh(read_mesh(tmp_path / "fit" / "reconstruction.ply")).watertight
    assert (tmp_path / "fit" / "preview.png").stat().st_size > 1000
