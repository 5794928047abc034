"""A set of Gaussians through which rays are cast, from training to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.export.formats import read_mesh
from onefield.export.gaussian_formats import read_gaussians
from onefield.tools import evaluate, export, render
from onefield.training.evaluation import evaluate as scored

CHANGES = ["field.first=300", "field.most=400", "field.events=10", "training.first_rays=256", "training.most_rays=256"]
CHANGES += ["field.mean_rate=1e-3", "renderer.step=0.04"]
STEPS = 60


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=10, size=24)
    return folder


def _begun(scene: Path, output: Path, *changes: str):
    return start_run(configure(scene, "raygauss", steps=STEPS, changes=[*CHANGES, *changes]), output)


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "run"
    opened = _begun(scene, output)
    before = scored(opened.method, opened.scene).summary()["psnr"]
    run(opened)
    after = scored(opened.method, opened.scene).summary()["psnr"]
    assert after > before + 2
    return output


def test_a_run_that_stops_goes_on_to_the_same_numbers(scene, trained, tmp_path):
    broken = _begun(scene, tmp_path / "broken")
    steps = iter(range(1000))
    # past the degrees, when lobes are learned
    run(broken, should_stop=lambda: next(steps) >= 30)
    again = open_run(tmp_path / "broken", trained=False)
    assert run(again, resume=True).step == STEPS
    expected = open_run(trained).method.model().state_dict()
    found = again.method.model().state_dict()
    assert {name for name, tensor in found.items() if not torch.equal(tensor, expected[name])} == set()
    assert found["field.lobes.colors"].any()
    assert len(again.method.field) == 400


def test_the_papers_rule_clones_and_drops_by_gradients_in_space(scene, tmp_path):
    opened = _begun(scene, tmp_path / "run", "field.densification=original", "field.pull=1e-7")
    run(opened)
    assert len(opened.method.field) > 300


def test_views_are_scored_and_paths_are_rendered(trained, tmp_path, capsys):
    evaluate.run_command(trained, json=True)
    assert json.loads(capsys.readouterr().out)
    assert list((trained / "eval").glob("*.png"))
    render.run_command(trained, frames=2, output=tmp_path / "frames")
    assert (tmp_path / "frames" / "0001.png").exists()


def test_gaussians_and_surfaces_are_exported(trained, tmp_path, caplog):
    export.run_command(trained, to=tmp_path / "set.ply")
    assert "lobes" in caplog.text
    assert read_gaussians(tmp_path / "set.ply").degree == 3
    for extractor in ("marching-cubes", "tsdf"):
        path = tmp_path / f"{extractor}.obj"
        export.run_command(trained, to=path, extractor=extractor, resolution=24)
        assert len(read_mesh(path).faces) > 20
