"""A mesh optimised from photos with alpha, from training to files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from PIL import Image

from onefield.configs.runs import configure, open_run, run, start_run
from onefield.errors import DataError, UsageError
from onefield.export.formats import export_mesh, read_mesh
from onefield.meshing.report import report_mesh
from onefield.tools import evaluate, export, render
from onefield.tools.mesh_options import MeshOptions
from onefield.training.loop import take_step
from onefield.training.state import TrainingState
from onefield.training.surface import choose_extractor, method_surface
from tests.outlined_scene import CENTER, RADII, off_surface, paint, write_ellipsoid_scene

CHANGES = ["field.resolution=20", "field.log2_table_size=12", "field.finest_resolution=32", "field.growth_end=0.3"]
CHANGES += ["training.encoding_rate=5e-2", "training.network_rate=1e-2"]
STEPS = 60


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ellipsoid_scene(tmp_path_factory.mktemp("scene"), views=10, size=40)


def _begun(scene: Path, output: Path, *changes: str):
    return start_run(configure(scene, "flexicubes", steps=STEPS, changes=[*CHANGES, *changes]), output)


def _mean_distance(opened) -> float:
    """From the surface to the ellipsoid, in parts of its diagonal."""
    places = opened.scene.transform.invert(opened.method.field.mesh().vertices).numpy()
    return float(off_surface(places).mean() / (2 * np.linalg.norm(RADII)))


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "run"
    opened = _begun(scene, output)
    hull = _mean_distance(opened)
    run(opened)
    found = _mean_distance(opened)
    # a pixel is 3 % of the diagonal wide
    assert hull > 0.01
    assert found < 0.008
    return output


def test_the_surface_is_whole_and_stands_where_the_ellipsoid_does(trained):
    opened = open_run(trained)
    mesh = opened.method.field.mesh()
    report = report_mesh(mesh)
    assert report.watertight
    assert report.components == 1
    assert max(opened.method.field.grid.cells) == 20
    middle = opened.scene.transform.invert((mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2).numpy()
    assert np.abs(middle - CENTER).max() < 0.02


def test_a_run_that_stops_goes_on_to_the_same_numbers(scene, trained, tmp_path):
    broken = _begun(scene, tmp_path / "broken")
    steps = iter(range(1000))
    # past the growth, after which the grid is another one
    run(broken, should_stop=lambda: next(steps) >= 30)
    again = open_run(tmp_path / "broken", trained=False)
    assert run(again, resume=True).step == STEPS
    expected = open_run(trained).method.model().state_dict()
    found = again.method.model().state_dict()
    assert {name for name, tensor in found.items() if not torch.equal(tensor, expected[name])} == set()


def test_a_run_on_an_octree_goes_on_and_keeps_large_leaves(scene, tmp_path):
    changes = [*CHANGES, "field.resolution=64", "field.flatness=0.1", "field.growth_stages=2"]
    config = configure(scene, "flexicubes", steps=12, changes=changes)
    opened = start_run(config, tmp_path / "run")
    hull = _mean_distance(opened)
    steps = iter(range(1000))
    # between the two stages
    run(opened, should_stop=lambda: next(steps) >= 2)
    again = open_run(tmp_path / "run", trained=False)
    assert run(again, resume=True).step == 12
    found = open_run(tmp_path / "run")
    grid = found.method.field.grid
    assert set(grid.sizes.tolist()) == {1, 2, 4}
    assert report_mesh(grid.mesh()).watertight
    # each stage takes a little off a round shape, which few steps hardly bring back, in large cells the most
    assert _mean_distance(found) < 1.5 * hull
    inside = grid.values[grid.corners] < 0
    assert int(grid.sizes[inside.any(1) & ~inside.all(1)].max()) > 1


def test_views_are_scored_and_paths_are_rendered(trained, tmp_path, capsys):
    evaluate.run_command(trained, json=True)
    assert json.loads(capsys.readouterr().out)["psnr"] > 22
    assert list((trained / "eval").glob("*.png"))
    render.run_command(trained, frames=2, output=tmp_path / "frames")
    assert (tmp_path / "frames" / "0001.png").exists()


def test_the_mesh_itself_is_exported_with_the_paint(trained, tmp_path):
    export.run_command(trained, to=tmp_path / "mesh.ply")
    mesh = read_mesh(tmp_path / "mesh.ply")
    opened = open_run(trained)
    own = opened.scene.transform.invert(opened.method.field.mesh().vertices)
    torch.testing.assert_close(mesh.vertices.double(), own, atol=1e-5, rtol=0)
    wanted = torch.from_numpy(paint(mesh.vertices.double().numpy()))
    assert float((mesh.colors.double() - wanted).abs().mean()) < 0.06
    export.run_command(trained, to=tmp_path / "level.obj", extractor="marching-cubes", resolution=24)
    assert len(read_mesh(tmp_path / "level.obj").faces) > 100


def test_the_inside_is_exported_as_tetrahedra(trained, tmp_path, capsys):
    export.run_command(trained, to=tmp_path / "solid.vtu", mesh=MeshOptions(scale=10.0), json=True)
    said = json.loads(capsys.readouterr().out)
    enclosed = report_mesh(open_run(trained).method.field.mesh()).volume
    unit = open_run(trained).scene.transform.inverse().scale
    assert said["volume"] == pytest.approx(enclosed * unit**3 * 1000, rel=1e-4)
    held = meshio.read(tmp_path / "solid.vtu")
    corners = held.points[held.cells_dict["tetra"]]
    edges = corners[:, 1:] - corners[:, :1]
    assert np.linalg.det(edges).sum() / 6 == pytest.approx(said["volume"], rel=1e-4)
    assert np.abs((held.points.min(0) + held.points.max(0)) / 2 - 10 * CENTER).max() < 0.2
    with pytest.raises(UsageError, match="only --up and --scale"):
        export.run_command(trained, to=tmp_path / "solid.vtu", mesh=MeshOptions(faces="1k"))


def test_a_mesh_is_refined_from_where_it_stands(scene, trained, tmp_path):
    export.run_command(trained, to=tmp_path / "mesh.ply")
    changes = ["field.growth_stages=0", "field.resolution=28"]
    opened = _begun(scene, tmp_path / "run", f"field.start={tmp_path / 'mesh.ply'}", *changes)
    assert max(opened.method.field.grid.cells) == 28
    # no more than what rounder cells take off its corners
    assert _mean_distance(opened) < _mean_distance(open_run(trained)) + 0.002
    mesh = read_mesh(tmp_path / "mesh.ply")
    export_mesh(replace(mesh, vertices=mesh.vertices + 90), tmp_path / "far.ply")
    for name, words in (("far", "lies outside the region"), ("none", r"none\.ply")):
        with pytest.raises(DataError, match=words):
            _begun(scene, tmp_path / name, f"field.start={tmp_path / name}.ply")


def test_poses_and_colours_of_photos_are_learned_along(scene, tmp_path):
    method = _begun(scene, tmp_path / "run", "refine_poses=true", "appearance=exposure").method
    loaded = configure(scene, "flexicubes").load_scene()
    state = TrainingState.begin(method, method.batches(loaded, loaded.train_indices, 0))
    assert all(take_step(state).trouble is None for _ in range(2))
    assert method.poses.coordinates[loaded.train_indices].abs().max() > 0
    assert method.appearance.values.abs().max() > 0


def test_photos_without_outlines_are_told(tmp_path):
    write_ellipsoid_scene(tmp_path / "plain", views=6, size=12)
    for photo in (tmp_path / "plain" / "images").iterdir():
        Image.open(photo).convert("RGB").save(photo)
    with pytest.raises(DataError, match="neither alpha nor masks; add masks"):
        _begun(tmp_path / "plain", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_masks_that_mean_something_else_or_are_missing_are_told(tmp_path):
    folder = write_ellipsoid_scene(tmp_path / "masked", views=6, size=12)
    (folder / "masks").mkdir()
    for number in range(6):
        photo = Image.open(folder / f"images/{number:02d}.png")
        photo.getchannel("A").save(folder / f"masks/{number:02d}.png")
        photo.convert("RGB").save(folder / f"images/{number:02d}.png")
    config = configure(folder, "flexicubes", changes=CHANGES)
    for use in ("ignore", "carve"):
        with pytest.raises(DataError, match=f"taken to {use}; give --masks alpha"):
            start_run(replace(config, masks=use), tmp_path / use)
    opened = start_run(replace(config, masks="alpha"), tmp_path / "alpha")
    assert len(opened.method.field.mesh().faces) > 50
    (folder / "masks/03.png").unlink()
    with pytest.raises(DataError, match="Only 5 of the 6 photos"):
        start_run(replace(config, masks="alpha"), tmp_path / "some")


def test_outlines_without_anything_in_common_are_told(tmp_path):
    folder = write_ellipsoid_scene(tmp_path / "empty", views=6, size=12)
    for photo in (folder / "images").iterdir():
        Image.new("RGBA", (12, 12)).save(photo)
    with pytest.raises(DataError, match="nothing in common"):
        _begun(folder, tmp_path / "run")


def test_losses_and_renderers_that_need_a_surface_say_so(scene, tmp_path):
    with pytest.raises(UsageError, match="needs a surface of FlexiCubes"):
        start_run(configure(scene, "ngp", changes=["losses.deviation=1"]), tmp_path / "ngp")
    with pytest.raises(UsageError, match="Meshes are drawn of surfaces"):
        start_run(configure(scene, "ngp", changes=["renderer.kind=mesh"]), tmp_path / "drawn")
    with pytest.raises(UsageError, match=r"field\.resolution must be"):
        configure(scene, "flexicubes", changes=["field.resolution=1"])


def test_a_surface_that_vanished_is_not_exported(trained, tmp_path):
    opened = open_run(trained)
    with torch.no_grad():
        opened.method.field.grid.values.fill_(1.0)
    choice = choose_extractor(opened.method, opened.scene)
    assert choice.extractor == "flexicubes"
    with pytest.raises(DataError, match="has no face"):
        method_surface(opened.method, opened.scene, choice)
    picture = opened.method.renderer.render_image(opened.method.field, opened.scene.cameras, 0)
    assert (picture.opacity == 0).all()
