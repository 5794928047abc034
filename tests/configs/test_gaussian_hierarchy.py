"""Gaussians in levels as configured, from training to files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onefield.configs.gaussian_hierarchy import HierarchySet
from onefield.configs.memory import sized_parts
from onefield.configs.presets import preset
from onefield.configs.reading import changed
from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.errors import DataError, UsageError
from onefield.export.gaussian_formats import read_gaussians
from onefield.tools import export
from onefield.training.evaluation import evaluate as scored
from onefield.types import PointCloud

STEPS = 200
CHANGES = ["field.kind=gaussian-hierarchy", "field.roots=64", "field.levels=3"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=24)
    return folder


def begun(scene: Path, output: Path):
    return start_run(configure(scene, "splat", steps=STEPS, changes=CHANGES), output)


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hierarchy that has learned its seven pictures."""
    output = tmp_path_factory.mktemp("run") / "run"
    opened = begun(scene, output)
    before = scored(opened.method, opened.scene, "training").summary()["psnr"]
    run(opened)
    after = scored(opened.method, opened.scene, "training").summary()["psnr"]
    assert after > max(before + 8, 22)
    return output


def test_a_run_that_stops_goes_on_to_the_same_numbers(scene, trained, tmp_path):
    broken = begun(scene, tmp_path / "broken")
    steps = iter(range(1000))
    run(broken, should_stop=lambda: next(steps) >= 50)
    again = open_run(tmp_path / "broken", trained=False)
    assert run(again, resume=True).step == STEPS
    expected = open_run(trained).method.model().state_dict()
    found = again.method.model().state_dict()
    assert {name for name, tensor in found.items() if not torch.equal(tensor, expected[name])} == set()
    assert len(again.method.field) == 64 * (1 + 4 + 16) == again.config.method.field.count


def test_it_is_exported_as_any_set(trained, tmp_path):
    export.run_command(trained, to=tmp_path / "set.ply")
    assert len(read_gaussians(tmp_path / "set.ply")) == 64 * 21


def test_sizes_are_known_beforehand(scene):
    config, loaded = changed(preset("splat"), CHANGES), load_scene(scene)
    field, _ = sized_parts(config, loaded)
    assert {parameter.device.type for parameter in field.parameters()} == {"meta"}
    shapes = {name: tensor.shape for name, tensor in config.build(loaded).field.state_dict().items()}
    assert {name: tensor.shape for name, tensor in field.state_dict().items()} == shapes


def test_fewer_points_than_roots_are_told(scene):
    few = replace(load_scene(scene), points=PointCloud(torch.rand(30, 3)))
    with pytest.raises(DataError, match=r"64 roots .* there are 30; lower field\.roots"):
        HierarchySet(roots=64).started(few)
    assert len(HierarchySet(roots=16, levels=2).started(few)) == 16 * 5


@pytest.mark.parametrize("change", ["field.roots=1", "field.levels=0", "field.first_opacity=1", "field.place_rate=0"])
def test_settings_that_make_no_sense_are_told(change):
    with pytest.raises(UsageError, match=change.split("=")[0]):
        changed(preset("splat"), ["field.kind=gaussian-hierarchy", change])
