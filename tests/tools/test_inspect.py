"""What ``onefield inspect`` calls a path."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import numpy as np
import pytest
import trimesh
from scipy.io import wavfile

from onefield.tools.inspect import run_command
from onefield.tools.main import main
from onefield.training.completion import WEIGHTS_FILE, Completion, build_network
from onefield.training.recipes import Recipe

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def described(path, capsys):
    run_command(path, json=True)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("named", ["solid.json", "solid/slices.json"])
def test_slices_are_told_from_datasets_that_are_json_or_folders_too(named, tmp_path, capsys):
    file = tmp_path / named
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"slices": [{"height": h, "contours": [SQUARE]} for h in (0.0, 1.0, 2.0)]}))
    assert described(tmp_path / named.split("/")[0], capsys)["kind"] == "slices"


def test_a_folder_of_signals_is_what_fit_makes_of_it(tmp_path, capsys):
    for number in (1, 2):
        wavfile.write(tmp_path / f"{number}.wav", 8000, np.zeros(9, np.int16))
    assert described(tmp_path, capsys) == {"kind": "signals", "files": 2, "pictures": 0}
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (1, 2, 3):
        imageio.imwrite(frames / f"{number}.png", np.zeros((3, 5, 3), np.uint8))
    found = described(frames, capsys)
    assert (found["format"], found["signals"]["kind"]) == ("photos", "video")
    (frames / "2.png").unlink()
    imageio.imwrite(frames / "4.png", np.zeros((3, 5, 3), np.uint8))
    assert described(frames, capsys)["signals"] == {"kind": "signals", "files": 3, "pictures": 3}


def test_a_transforms_file_is_a_dataset(data_folder, capsys):
    assert described(data_folder / "fox" / "transforms.json", capsys)["kind"] == "dataset"


@pytest.mark.parametrize("named", [".", WEIGHTS_FILE])
def test_what_meshes_taught_is_told_by_its_folder_and_its_file(named, tmp_path, capsys):
    sizes = {"planes": 4, "volume": 0, "channels": 4, "width": 2, "levels": 3, "blocks": 2}
    recipe = Recipe("conv-occupancy", sizes, 0.0, 5e-3, 0.05, 1, 6)
    Completion(build_network(recipe), recipe, ("ball", "ring"), 5).save(tmp_path / WEIGHTS_FILE)
    found = described(tmp_path / named, capsys)
    assert (found["kind"], found["field"], found["step"]) == ("completion", "conv-occupancy", 5)
    assert found["shapes"] == ["ball", "ring"]


def test_points_are_no_mesh(tmp_path, capsys):
    trimesh.PointCloud(np.random.default_rng(0).random((60, 3))).export(tmp_path / "scan.ply")
    assert described(tmp_path / "scan.ply", capsys)["kind"] == "points"


def test_fits_and_starts_are_told(tmp_path, capsys):
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((5, 7)))
    fit = ["fit", str(tmp_path / "0.npy"), "--field", "siren", "--steps", "1", "--output", str(tmp_path / "made")]
    start, decoder = tmp_path / "start.safetensors", tmp_path / "decoder.safetensors"
    assert main(fit) == 0
    assert main(["learn", str(tmp_path), "--steps", "1", "--output", str(start)]) == 0
    by = ["--by", "gradient-origin", "--steps", "1", "--code", "3"]
    assert main(["learn", str(tmp_path), *by, "--output", str(decoder)]) == 0
    capsys.readouterr()
    for path in (tmp_path / "made", tmp_path / "made" / "field.safetensors"):
        found = described(path, capsys)
        assert (found["kind"], found["field"], found["shape"], found["sound"]) == ("fit", "siren", [5, 7], True)
    assert described(start, capsys) == {"kind": "start of fits", "field": "siren", "signals": 2}
    assert described(decoder, capsys) == {"kind": "decoder", "field": "siren", "shape": [5, 7], "code": 3}
    cut = tmp_path / "made" / "field.safetensors"
    cut.write_bytes(cut.read_bytes()[:-9])
    assert main(["inspect", str(tmp_path / "made")]) == 3
    assert "is damaged" in capsys.readouterr().err


def test_vertices_that_a_file_splits_at_seams_are_one_place(tmp_path, capsys):
    box = trimesh.creation.box()
    corners = box.vertices[box.faces.ravel()]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {i + 1} {i + 2} {i + 3}" for i in range(0, 36, 3)]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    found = described(tmp_path / "box.obj", capsys)
    assert (found["watertight"], found["vertices"]) == (True, 8)
