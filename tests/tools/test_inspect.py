"""What ``onefield inspect`` calls a path."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import numpy as np
import pytest
import trimesh
from scipy.io import wavfile

from onefield.tools.inspect import run_command
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
