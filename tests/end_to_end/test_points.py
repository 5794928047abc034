"""Clouds of points by the real command: a mesh comes out, or one sentence says why not."""

import json

import numpy as np
import pytest

from onefield.export.formats import read_mesh
from onefield.meshing.report import report_mesh
from onefield.tools.main import main
from onefield.training.fitted import load_fitted

RADIUS = 2.0


def ball(count: int = 1000) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_points_become_a_closed_mesh_and_a_field(tmp_path, capsys):
    shift = np.array([431_000.0, 5_412_000.0, 320.0])
    table = np.hstack([RADIUS * ball() + shift, -ball()])
    table[0, 0] = np.nan
    np.savetxt(tmp_path / "cloud.xyz", table)
    assert main(["fit", str(tmp_path / "cloud.xyz"), "--output", str(tmp_path / "fit"), "--json"]) == 0
    printed = capsys.readouterr()
    assert "1 of 1,000 points are not finite" in printed.err
    assert "normals point inward" in printed.err
    figures = json.loads(printed.out)
    mesh = read_mesh(tmp_path / "fit" / "reconstruction.ply")
    report = report_mesh(mesh)
    assert report.watertight
    assert report.genus == 0
    assert figures["watertight"] == 1
    assert report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    assert np.abs(np.array(report.minimum) - (shift - RADIUS)).max() < 0.1
    fitted = load_fitted(tmp_path / "fit" / "field.safetensors")
    assert fitted.kind == "points"
    assert report_mesh(fitted.reconstruction()).watertight


@pytest.mark.parametrize(
    ("table", "words"),
    [(ball(20), "needs at least 50"), (ball() * [1, 1, 0], "on a plane"), (ball()[:, [0] * 3], "on a line")],
)
def test_hopeless_clouds_end_in_one_sentence(tmp_path, capsys, table: np.ndarray, words: str):
    np.save(tmp_path / "cloud.npy", table)
    assert main(["fit", str(tmp_path / "cloud.npy"), "--output", str(tmp_path / "fit")]) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in last
    assert "cloud.npy" in last
    assert not (tmp_path / "fit").exists()


def test_steps_for_what_is_solved_are_refused(tmp_path, capsys):
    np.save(tmp_path / "cloud.npy", ball())
    assert main(["fit", str(tmp_path / "cloud.npy"), "--steps", "5", "--output", str(tmp_path / "fit")]) == 2
    assert "without training steps" in capsys.readouterr().err
