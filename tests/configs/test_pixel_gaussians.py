"""Three photos with depth, from training to files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from onefield.configs import memory
from onefield.configs.memory import sized_parts
from onefield.configs.pixel_gaussians import PixelSet
from onefield.configs.presets import preset
from onefield.configs.reading import changed
from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.formats import load_scene
from onefield.errors import ResourceError, UsageError
from onefield.export.formats import read_mesh
from onefield.export.gaussian_formats import read_gaussians
from onefield.tools import evaluate, export, render
from onefield.training.evaluation import evaluate as scored
from onefield.training.memory import LIBRARIES, training_need
from tests.sparse_scene import write_sparse_scene

STEPS = 40
CHANGES = ["field.width=8"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sparse_scene(tmp_path_factory.mktemp("sparse"), 40)


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "run"
    opened = start_run(configure(scene, "sparse-splat", steps=STEPS, changes=CHANGES), output)
    before = scored(opened.method, opened.scene).summary()["psnr"]
    run(opened)
    assert scored(opened.method, opened.scene).summary()["psnr"] > max(before, 21)
    return output


def test_a_run_that_stops_goes_on_to_the_same_numbers(scene, trained, tmp_path):
    broken = start_run(configure(scene, "sparse-splat", steps=STEPS, changes=CHANGES), tmp_path / "broken")
    steps = iter(range(1000))
    # past the release of shapes
    run(broken, should_stop=lambda: next(steps) >= 33)
    again = open_run(tmp_path / "broken", trained=False)
    assert run(again, resume=True).step == STEPS
    expected = open_run(trained).method.model().state_dict()
    found = again.method.model().state_dict()
    assert {name for name, tensor in found.items() if not torch.equal(tensor, expected[name])} == set()
    for name in ("log_scales", "harmonics.1", "depth_decoder.last.weight", "opacity_decoder.last.weight"):
        assert found[f"field.{name}"].any()


def test_views_are_scored_and_rendered_without_the_depth_maps(scene, trained, tmp_path, capsys):
    evaluate.run_command(trained, json=True)
    assert json.loads(capsys.readouterr().out)
    for name in ("depth", "flow"):
        shutil.move(scene / name, tmp_path / name)
    try:
        render.run_command(trained, frames=2, output=tmp_path / "frames")
    finally:
        for name in ("depth", "flow"):
            shutil.move(tmp_path / name, scene / name)
    assert (tmp_path / "frames" / "0001.png").exists()


def test_gaussians_and_surfaces_are_exported(trained, tmp_path):
    export.run_command(trained, to=tmp_path / "set.ply")
    written = read_gaussians(tmp_path / "set.ply")
    assert len(written) == len(open_run(trained).method.field)
    assert written.degree == 1
    export.run_command(trained, to=tmp_path / "mesh.obj", resolution=24)
    assert len(read_mesh(tmp_path / "mesh.obj").faces) > 20


def test_memory_follows_the_pixels(scene):
    config, loaded = preset("sparse-splat"), load_scene(scene)
    field, sampler = sized_parts(config, loaded)
    assert sampler is None
    assert {parameter.device.type for parameter in field.parameters()} == {"meta"}
    assert len(field) == 3 * 40 * 40 > len(config.build(loaded).field)
    half = load_scene(scene, downscale=2)
    need, less = (training_need(sized_parts(config, one)[0], None, config.training, one) for one in (loaded, half))
    # shape, orientation and four harmonics of three quarters of the pixels
    assert need.parameters - less.parameters >= 8 * 4 * (3 + 4 + 12) * 3 * (40 * 40 - 20 * 20)


def test_without_memory_smaller_photos_are_proposed(scene, monkeypatch):
    config, loaded = preset("sparse-splat"), load_scene(scene)
    need = training_need(sized_parts(config, loaded)[0], None, config.training, loaded).total
    monkeypatch.setattr(memory, "memory_available", lambda: LIBRARIES + (need - LIBRARIES) // 3)
    with pytest.raises(ResourceError, match=r"smaller with --downscale 2"):
        memory.require_training_memory(config, loaded)


@pytest.mark.parametrize("change", ["field.degree=4", "field.segments=0", "field.reach=1.5", "field.color_rate=-1"])
def test_settings_that_make_no_sense_are_told(change):
    with pytest.raises(UsageError, match=change.split("=")[0]):
        changed(preset("sparse-splat"), [change])


def test_fewer_views_start_more_opaque(scene):
    loaded = load_scene(scene)
    assert torch.sigmoid(torch.tensor(PixelSet().blank(loaded).first_logit)).item() == pytest.approx(0.5)
