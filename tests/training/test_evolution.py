"""Evolutions of a ball, whose radius and middle are known at all times."""

import json
import math

import pytest
import torch
import trimesh

from onefield.data.signals import Shape
from onefield.errors import DataError, UsageError
from onefield.export.formats import read_mesh
from onefield.fields.evolving import EvolvingField
from onefield.meshing.report import report_mesh
from onefield.tools.main import main
from onefield.training import evolution
from onefield.training.evolution import MeanCurvature, Morphing, Slopes, evolve, rotation, translation, twist
from onefield.types import Bounds, Mesh

MIDDLE = (5.0, -3.0, 1.0)
RADIUS = 2.0


def ball(radius=RADIUS, middle=MIDDLE):
    shape = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    vertices = torch.tensor(shape.vertices, dtype=torch.float32) + torch.tensor(middle)
    return Shape.of(Mesh(vertices, torch.tensor(shape.faces.astype(int))))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches and pools for a network of few units."""
    monkeypatch.setattr(evolution, "_BATCH", 2**10)
    monkeypatch.setattr(evolution, "_POOL", 2**14)


def evolved(law, half=2.6, middle=MIDDLE, duration=1.0):
    torch.manual_seed(0)
    domain = Bounds(tuple(m - half for m in middle), tuple(m + half for m in middle))
    field = EvolvingField(domain, duration, width=64, hidden_layers=1, w0=10.0)
    return evolve(ball(), law, field, steps=400)


def middle_and_radius(mesh):
    report = report_mesh(mesh)
    assert report.watertight
    low, high = torch.tensor(report.minimum), torch.tensor(report.maximum)
    return (low + high) / 2, (3 * report.volume / (4 * math.pi)) ** (1 / 3)


def test_a_ball_under_mean_curvature_has_the_radius_of_the_closed_form():
    strength, duration = 0.3, 2.0
    found = evolved(MeanCurvature(strength), duration=duration)
    for time in (0.0, 1.0, 2.0):
        middle, radius = middle_and_radius(found.mesh_at(time, 40))
        assert radius == pytest.approx(math.sqrt(RADIUS**2 - 4 * strength * time), rel=0.03)
        assert (middle - torch.tensor(MIDDLE)).abs().max() < 0.04 * RADIUS


def test_a_ball_that_is_carried_along_keeps_its_radius():
    velocity = (1.0, 0.5, 0.0)
    found = evolved(translation(velocity), half=3.2, middle=(5.5, -2.75, 1.0))
    for time in (0.0, 0.5, 1.0):
        middle, radius = middle_and_radius(found.mesh_at(time, 40))
        assert radius == pytest.approx(RADIUS, rel=0.03)
        assert (middle - torch.tensor(MIDDLE) - time * torch.tensor(velocity)).abs().max() < 0.04 * RADIUS


def test_a_ball_becomes_another_one_evenly():
    found = evolved(Morphing(ball(1.2)))
    for time, radius in ((0.0, 2.0), (0.5, 1.6), (1.0, 1.2)):
        assert middle_and_radius(found.mesh_at(time, 40))[1] == pytest.approx(radius, rel=0.05)
    assert found.metrics["start_error"] < 0.01


def at(points):
    """Slopes of a function that stands still and rises along all axes."""
    count = len(points)
    return Slopes(points, torch.zeros(count), torch.zeros(count), torch.zeros(count), torch.ones(count, 3), None)


def test_velocities_turn_right_handed_about_the_middle():
    points = torch.tensor(MIDDLE) + torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, -0.5]])
    turned = rotation((0.0, 0.0, 2.0), 0.3, MIDDLE).velocity(points, torch.zeros(2))
    torch.testing.assert_close(turned, 0.3 * torch.tensor([[0.0, 1.0, 0.0], [-2.0, 0.0, 0.0]]))
    twisted = twist((0.0, 0.0, 2.0), 0.3, MIDDLE).velocity(points, torch.zeros(2))
    torch.testing.assert_close(twisted, 0.15 * torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]))
    residual = rotation((0.0, 0.0, 1.0), 0.3, MIDDLE).residual(at(points))
    torch.testing.assert_close(residual, turned.sum(-1))


def test_impossible_motions_are_refused():
    with pytest.raises(UsageError, match="axis needs a direction"):
        rotation((0.0, 0.0, 0.0), 1.0)
    with pytest.raises(UsageError, match="positive number of steps"):
        evolve(ball(), translation((1.0, 0.0, 0.0)), steps=0)


def test_the_command_writes_meshes_from_the_start_to_the_end(tmp_path, capsys):
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.ply")
    call = ["evolve", str(tmp_path / "ball.ply"), "--to", str(tmp_path / "out"), "--steps", "60", "--frames", "3"]
    assert main([*call, "--resolution", "24", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["meshes"] == ["frame-000.ply", "frame-001.ply", "frame-002.ply"]
    volumes = [report_mesh(read_mesh(tmp_path / "out" / name)).volume for name in figures["meshes"]]
    assert volumes[0] > volumes[2]


@pytest.mark.parametrize(
    ("more", "words", "code"),
    [
        (["--by", "morphing"], "needs another shape", 2),
        (["--by", "rotation", "--axis", "0", "0", "0"], "--axis with a direction", 2),
        (["--frames", "1"], "the first and the last", 2),
        (["missing.obj"], "missing.obj does not exist", 3),
    ],
)
def test_bad_calls_end_in_one_sentence(tmp_path, capsys, more, words, code):
    trimesh.creation.box().export(tmp_path / "box.ply")
    assert main(["evolve", str(tmp_path / "box.ply"), *more, "--to", str(tmp_path / "out")]) == code
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_open_mesh_is_refused(tmp_path, capsys):
    box = trimesh.creation.box()
    trimesh.Trimesh(box.vertices, box.faces[:-2], process=False).export(tmp_path / "open.ply")
    assert main(["evolve", str(tmp_path / "open.ply"), "--to", str(tmp_path / "out")]) == 3
    assert "open.ply is not closed" in capsys.readouterr().err


def test_what_is_gone_has_no_mesh():
    found = evolve(ball(), translation((0.0, 0.0, 0.0)), steps=1)
    with torch.no_grad():
        found.field.network.biases[-1] += 10.0
    with pytest.raises(DataError, match="no surface"):
        found.mesh_at(0.0, 16)
