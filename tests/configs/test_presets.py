import dataclasses

import pytest

from onefield.configs.presets import NERFACTO, NGP, PRESETS, preset, suited
from onefield.configs.runs import configure
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.errors import DataError, UsageError


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("presets") / "scene"
    write_demo_scene(folder, views=8, size=12)
    return load_scene(folder)


def test_objects_before_nothing_and_open_scenes_get_what_suits_them(scene) -> None:
    assert suited(dataclasses.replace(scene, bounded=True)) is NGP
    assert suited(dataclasses.replace(scene, bounded=False)) is NERFACTO


def test_auto_looks_at_the_scene(scene, tmp_path) -> None:
    assert configure(scene.path).method.method == suited(scene).method
    assert configure(scene.path, "nerf").method == PRESETS["nerf"]
    with pytest.raises(DataError, match="nowhere"):
        configure(tmp_path / "nowhere")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="'auto'"):
        preset("aut")
