"""A folder of meshes teaches weights that complete points, by the real command."""

import json

import numpy as np
import pytest
import torch

from onefield.export.formats import export_mesh
from onefield.fields.analytic import BoxField, SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.tools.main import main
from onefield.training.completion import load_completion
from onefield.types import Bounds, Mesh


def ball() -> Mesh:
    return extract_mesh(SphereField(0.7, domain=Bounds.cube(1.0)), resolution=20)


def test_meshes_teach_and_points_are_completed(tmp_path, capsys):
    meshes, run = tmp_path / "meshes", tmp_path / "run"
    meshes.mkdir()
    export_mesh(ball(), meshes / "ball.ply")
    export_mesh(extract_mesh(BoxField((0.6, 0.5, 0.4), domain=Bounds.cube(1.0)), resolution=20), meshes / "box.stl")
    export_mesh(Mesh(ball().vertices, ball().faces[: len(ball().faces) // 2]), meshes / "half.obj")
    command = ["fit", str(meshes), "--field", "conv-occupancy", "--output", str(run), "--json"]
    assert main([*command, "--steps", "2"]) == 0
    printed = capsys.readouterr()
    assert "half.obj is not closed and is left out" in printed.err
    assert json.loads(printed.out)["step"] == 2
    assert main([*command, "--steps", "3", "--resume"]) == 0
    assert load_completion(run).step == 3
    assert load_completion(run).shapes == ("ball.ply", "box.stl")
    capsys.readouterr()

    np.save(tmp_path / "cloud.npy", torch.nn.functional.normalize(torch.randn(400, 3), dim=1).numpy())
    complete = ["fit", str(tmp_path / "cloud.npy"), "--weights", str(run), "--output", str(tmp_path / "fit")]
    # hardly trained, it may find no surface, which is said in a sentence
    code = main(complete)
    said = capsys.readouterr()
    assert "3 steps on ball.ply, box.stl" in said.err
    assert (tmp_path / "fit" / "reconstruction.ply").exists() == (code == 0)
    assert code in (0, 3)
    assert main([*complete, "--field", "siren"]) == 2
    assert "--weights are of --field conv-occupancy" in capsys.readouterr().err
    assert main(["fit", str(meshes / "ball.ply"), *complete[2:]]) == 2
    assert "complete points" in capsys.readouterr().err
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(size=(20, 3)))
    assert main(complete) == 3
    assert "needs at least 50" in capsys.readouterr().err


@pytest.mark.parametrize("open_mesh", [True, False])
def test_folders_without_closed_meshes_end_in_one_sentence(tmp_path, capsys, open_mesh: bool):
    if open_mesh:
        export_mesh(Mesh(ball().vertices, ball().faces[: len(ball().faces) // 2]), tmp_path / "half.ply")
    arguments = ["fit", str(tmp_path), "--field", "conv-occupancy", "--output", str(tmp_path / "run")]
    assert main(arguments) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert ("None of the meshes is closed (half.ply)" if open_mesh else "holds no meshes") in last
    assert not (tmp_path / "run").exists()
