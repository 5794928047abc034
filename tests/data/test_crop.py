"""The crop box, to disk and back, in a frame that is turned, scaled and far away."""

import json
import math

import pytest
import torch

from onefield.data.crop import read_crop, write_crop
from onefield.data.scene import Similarity
from onefield.errors import DataError
from onefield.types import Bounds

TURN = torch.tensor(
    [[math.cos(0.4), -math.sin(0.4), 0.0], [math.sin(0.4), math.cos(0.4), 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64
)
GRID = Similarity.about(torch.tensor([512_000.0, 4_200_000.0, 310.0]), 0.02, TURN)
BOX = Bounds((-0.5, -0.2, 0.1), (0.3, 0.9, 0.6))


def test_a_box_comes_back(tmp_path):
    write_crop(tmp_path / "crop.json", BOX, GRID)
    back = read_crop(tmp_path / "crop.json", GRID)
    assert back.minimum == pytest.approx(BOX.minimum, abs=1e-7)
    assert back.maximum == pytest.approx(BOX.maximum, abs=1e-7)


def test_the_file_speaks_the_datasets_frame(tmp_path):
    write_crop(tmp_path / "crop.json", BOX, GRID)
    record = json.loads((tmp_path / "crop.json").read_text())
    center, size, axes = (torch.tensor(record[key], dtype=torch.float64) for key in ("center", "size", "axes"))
    corner = center + axes @ (size * torch.tensor([0.5, -0.5, 0.5]))
    assert GRID.apply(corner).tolist() == pytest.approx([0.3, -0.2, 0.6], abs=1e-6)
    assert record["size"] == pytest.approx([40.0, 55.0, 25.0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": [1.0, 0.0, 1.0]}, "'size' must be positive"),
        ({"size": [1.0, 2.0]}, "'size'"),
        ({"axes": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "'axes'"),
        ({"center": None}, "'center'"),
    ],
)
def test_a_broken_box_is_named(tmp_path, change, words):
    path = tmp_path / "crop.json"
    write_crop(path, BOX, GRID)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"crop\.json.*{words}"):
        read_crop(path, GRID)
