"""``onefield stitch``: what is cut, kept, moved and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.tools.main import main
from tests.fields.test_gaussian_stitching import cast, halves


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    source, target = halves()
    export_gaussians(source, tmp_path / "source.ply")
    export_gaussians(cast(target, (1.0, 1.0, 1.0), (0.5, -0.5, 0.2)), tmp_path / "target.ply")
    return tmp_path / "source.ply", tmp_path / "target.ply"


def stitch(*arguments: object) -> int:
    return main(["stitch", *map(str, arguments)])


def test_the_source_comes_first_and_unchanged(files, tmp_path, capsys):
    assert stitch(*files, "--to", tmp_path / "both.ply", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    source, both = read_gaussians(files[0]), read_gaussians(tmp_path / "both.ply")
    assert result["gaussians"] == len(both) == 4000
    assert 0 < result["seam"] < result["target"]
    for one, other in zip(both[: len(source)].harmonics, source.harmonics, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(both[len(source) :].harmonics[0], read_gaussians(files[1]).harmonics[0])


def test_boxes_and_motion(files, tmp_path):
    options = ("--cut", 0, 0, -1, 0.2, 1, 1, "--keep", 0.8, 0, -1, 1, 1, 1, "--move", -0.3, 0, 0, "--no-harmonize")
    assert stitch(*files, "--to", tmp_path / "both.ply", *options) == 0
    source, target, both = (read_gaussians(path) for path in (*files, tmp_path / "both.ply"))
    stays, joins = source[source.means[:, 0] > 0.2], target[target.means[:, 0] >= 0.8]
    expected = torch.cat([stays.means, joins.means - torch.tensor([0.3, 0, 0])])
    torch.testing.assert_close(both.means, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--move", 9, 0, 0), "don't touch"),
        (("--keep", 5, 5, 5, 6, 6, 6), "within the box"),
        (("--cut", -9, -9, -9, 9, 9, 9), "outside the box"),
    ],
)
def test_nothing_to_join_is_said(files, tmp_path, capsys, options, words):
    assert stitch(*files, "--to", tmp_path / "both.ply", *options) == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "both.ply").exists()
