"""Gaussians of a run as files in the dataset's frame."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.errors import UsageError
from onefield.export.gaussian_formats import read_gaussians
from onefield.fields.gaussians import GaussianField
from onefield.renderers.splat import SplatRenderer
from onefield.tools.export import run_command
from onefield.tools.gaussians import wants_gaussians
from onefield.types import Bounds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene, output = tmp_path_factory.mktemp("scene"), tmp_path_factory.mktemp("run") / "run"
    write_demo_scene(scene, views=8, size=24)
    run(start_run(configure(scene, "splat", steps=4, changes=["field.first=80"]), output))
    return output


@pytest.mark.parametrize("name", ["scene.ply", "scene.splat.ply", "scene.spz", "scene.splat", "scene.splat.glb"])
def test_what_is_exported_shows_the_same_from_the_datasets_cameras(folder, tmp_path, name):
    run_command(folder, to=tmp_path / name)
    read = read_gaussians(tmp_path / name)
    opened = open_run(folder)
    scene, field = opened.scene, opened.method.field
    cameras = scene.transform.invert_cameras(scene.cameras)
    size = float(read.means.abs().max()) + 1
    theirs = SplatRenderer().render_image(GaussianField(Bounds.cube(size), read), cameras, 0)
    ours = SplatRenderer().render_image(field, scene.cameras, 0)
    tolerance = 1e-3 if name.endswith(("ply", "glb")) else 0.12
    assert float((theirs.color - ours.color).abs().mean()) < tolerance


def test_only_runs_with_gaussians_export_them(folder, tmp_path):
    opened = open_run(folder)
    assert wants_gaussians(opened, tmp_path / "a.ply")
    assert wants_gaussians(opened, tmp_path / "a.html")
    assert not wants_gaussians(opened, tmp_path / "a.glb")
    object.__setattr__(opened.method, "field", torch.nn.Identity())
    for name in ("a.ply", "a.html"):
        assert not wants_gaussians(opened, tmp_path / name)
    for name in ("a.splat.ply", "a.splat.html", "a.spz", "a.splat.glb"):
        with pytest.raises(UsageError, match="--method splat"):
            wants_gaussians(opened, tmp_path / name)
