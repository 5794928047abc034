"""A trained run, small; tests that change its folder take a copy."""

import shutil
from dataclasses import replace

import pytest

from onefield.configs.runs import Run, configure, run, score, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.training.run_folder import RunFolder

SMALL = [
    "training.samples_per_step=2048",
    "training.validate_every=10",
    "sampler.resolution=24",
    "field.levels=4",
    "field.log2_table_size=12",
]


@pytest.fixture(scope="session")
def scored(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("scored")
    scene = folder / "a <b> & \"c\" 'd'"
    write_demo_scene(scene, views=24, size=32)
    opened = start_run(configure(scene, steps=40, changes=SMALL), folder / "first")
    outcome = run(opened)
    opened = replace(opened, step=outcome.step)
    score(opened)
    return opened


@pytest.fixture
def folder(scored, tmp_path) -> RunFolder:
    """A copy of the run's folder."""
    return RunFolder(shutil.copytree(scored.folder.path, tmp_path / "copy"))
