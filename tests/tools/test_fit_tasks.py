import json

import imageio.v3 as imageio
import numpy as np
import pytest

from onefield.tools.main import main
from tests.training.tasks.pictures import waves

BUDGET = ["--field", "siren", "--steps", "1", "--json"]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    imageio.imwrite(path, (waves(12, 12)[..., 0] * 255).astype(np.uint8))
    return path


def test_a_picture_with_a_hole(picture, tmp_path, capsys):
    mask = np.zeros((12, 12), np.uint8)
    mask[3:6, 3:6] = 255
    imageio.imwrite(tmp_path / "mask.png", mask)
    folder = tmp_path / "filled"
    asked = ["--task", "inpaint", "--mask", str(tmp_path / "mask.png"), "--truth", str(picture)]
    assert main(["fit", str(picture), *asked, *BUDGET, "--output", str(folder)]) == 0
    assert {"psnr", "baseline_psnr"} <= json.loads(capsys.readouterr().out).keys()
    assert imageio.imread(folder / "reconstruction.png").shape == (12, 12)


def test_twice_as_many_pixels(picture, tmp_path):
    folder = tmp_path / "finer"
    asked = ["--task", "super-resolve", "--factor", "2"]
    assert main(["fit", str(picture), *asked, *BUDGET, "--output", str(folder)]) == 0
    assert imageio.imread(folder / "reconstruction.png").shape == (24, 24)
    assert not (folder / "difference.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "denois"], "did you mean 'denoise'"),
        (["--task", "denoise", "--factor", "3"], "takes no factor; it takes truth"),
        (["--mask", "x.png"], "--mask belongs to a task"),
        (["--quantity", "occupancy"], "--quantity is of meshes, but "),
    ],
)
def test_tasks_that_do_not_exist(picture, capsys, options, words):
    assert main(["fit", str(picture), *options, *BUDGET]) == 2
    assert words in capsys.readouterr().err


def test_shapes_have_no_such_tasks(tmp_path, capsys):
    import trimesh

    trimesh.creation.box().export(tmp_path / "box.obj")
    assert main(["fit", str(tmp_path / "box.obj"), "--task", "denoise", *BUDGET]) == 2
    assert "on a grid in memory, but this is shape" in capsys.readouterr().err


def test_a_picture_by_tiles(tmp_path, capsys):
    np.save(tmp_path / "wide.npy", (waves(9, 12) * 65535).astype(np.uint16))
    folder = tmp_path / "tiles"
    assert main(["fit", str(tmp_path / "wide.npy"), "--tile", "4", *BUDGET, "--output", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["scored_samples"] == 108
    assert np.load(folder / "reconstruction.npy").dtype == np.uint16
    assert main(["fit", str(tmp_path / "wide.npy"), "--tile", "4", "--task", "denoise", *BUDGET]) == 2
    assert "is about signals on a grid in memory" in capsys.readouterr().err
