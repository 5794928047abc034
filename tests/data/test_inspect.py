import json

import numpy as np
import pytest
from PIL import Image

from onefield.data.inspect import inspect_dataset
from onefield.errors import DataError


def test_every_format_is_described(synthetic, tmp_path, format_name):
    synthetic.write(format_name, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    summary = inspect_dataset(tmp_path)
    assert summary.images == 5
    assert summary.sizes == {"8 x 6": 5}
    assert summary.train + summary.test == 5
    assert summary.problems == ()
    assert json.loads(json.dumps(summary.as_json()))["kind"] == "dataset"
    assert summary.lines()[-1] == "no problems found"
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_photos_without_poses_are_photos(tmp_path):
    for index in range(3):
        Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(tmp_path / f"{index}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"")
    summary = inspect_dataset(tmp_path)
    assert (summary.format, summary.images, summary.sizes) == ("photos", 3, {"6 x 4": 3})
    assert "broken.jpg is empty" in summary.problems[0]
    assert "onefield process" in summary.problems[-1]


def test_damaged_images_are_listed(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    file = tmp_path / "images" / "001.png"
    file.write_bytes(file.read_bytes()[:-30])
    assert any("001.png is truncated" in problem for problem in inspect_dataset(tmp_path).problems)


def test_nothing_known(tmp_path):
    with pytest.raises(DataError, match="looked for"):
        inspect_dataset(tmp_path)
