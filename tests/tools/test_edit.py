"""``onefield edit`` against what the Gaussians themselves say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.tools.main import main
from onefield.tools.motion import rotation_about_axes
from onefield.types import Gaussians


def gaussians(count: int, degree: int = 2) -> Gaussians:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    means, scales, quaternions, opacities = normal(count, 3), normal(count, 3) - 3, normal(count, 4), normal(count)
    bands = tuple(normal(count, 2 * band + 1, 3) for band in range(degree + 1))
    return Gaussians(means, scales, quaternions, opacities, bands)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    export_gaussians(gaussians(30), tmp_path / "a.ply")
    export_gaussians(gaussians(20, degree=0), tmp_path / "b.ply")
    return tmp_path / "a.ply", tmp_path / "b.ply"


def edit(*arguments: object) -> int:
    return main(["edit", *map(str, arguments)])


def test_sets_of_different_degree_are_merged_in_order(files, tmp_path, capsys):
    assert edit(*files, "--to", tmp_path / "both.ply", "--json") == 0
    assert json.loads(capsys.readouterr().out)["gaussians"] == 50
    both = read_gaussians(tmp_path / "both.ply")
    assert both.degree == 2
    assert torch.equal(both.means, torch.cat([gaussians(30).means, gaussians(20).means]))
    assert not both.harmonics[2][30:].any()
    assert bool(both.harmonics[2][:30].any())


def test_box_opacity_and_degree(files, tmp_path):
    options = ("--crop", -1, -1, -1, 1, 1, 0.5, "--prune", 0.4, "--degree", 1)
    assert edit(files[0], "--to", tmp_path / "cut.ply", *options) == 0
    before, cut = gaussians(30), read_gaussians(tmp_path / "cut.ply")
    inside = (before.means.abs() <= 1).all(1) & (before.means[:, 2] <= 0.5)
    kept = inside & (torch.sigmoid(before.opacities) >= 0.4)
    assert 0 < int(kept.sum()) < 30
    assert torch.equal(cut.means, before.means[kept])
    assert cut.degree == 1


def test_a_rotation_carries_shapes_and_colours_along(files, tmp_path):
    motion = ("--scale", 2, "--rotate", 0, 0, 90, "--move", 1, 2, 3)
    assert edit(files[0], "--to", tmp_path / "moved.ply", *motion) == 0
    before, moved = gaussians(30), read_gaussians(tmp_path / "moved.ply")
    x, y, z = before.means.unbind(1)
    torch.testing.assert_close(moved.means, torch.stack([1 - 2 * y, 2 + 2 * x, 3 + 2 * z], 1), atol=1e-5, rtol=1e-5)
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    axes, old = (rotations(one.quaternions) * one.log_scales.exp()[:, None] for one in (moved, before))
    torch.testing.assert_close(axes @ axes.mT, 4 * turn @ old @ old.mT @ turn.T, atol=1e-5, rtol=1e-4)
    direction = torch.tensor([[0.6, 0.0, 0.8]])

    def colors(some: Gaussians, along: torch.Tensor) -> torch.Tensor:
        return (harmonic_basis(along, 2)[:, :, None] * torch.cat(some.harmonics, dim=1)).sum(1)

    torch.testing.assert_close(colors(moved, direction @ turn.T), colors(before, direction), atol=1e-4, rtol=1e-4)


def test_axes_follow_one_another():
    x_then_y = rotation_about_axes((90, 90, 0)) @ torch.tensor([0.0, 1, 0], dtype=torch.float64)
    # y goes to z about x, and z to x about y
    torch.testing.assert_close(x_then_y, torch.tensor([1.0, 0, 0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--crop", 50, 50, 50, 60, 60, 60), 3, "they reach from"),
        (("--crop", 1, 0, 0, 0, 1, 1), 2, "minimum < maximum"),
        (("--prune", 2), 2, "between 0 and 1"),
        (("--degree", 4), 2, "0 to 3"),
        (("--scale", 0), 2, "above 0"),
        (("--move", math.nan, 0, 0), 2, "finite"),
    ],
)
def test_what_can_not_be_done_is_said(files, tmp_path, capsys, options, code, words):
    assert edit(files[0], "--to", tmp_path / "out.ply", *options) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.ply").exists()


def test_files_that_are_no_gaussians(files, tmp_path, capsys):
    (tmp_path / "cut.ply").write_bytes(files[0].read_bytes()[:-5])
    assert edit(tmp_path / "cut.ply", "--to", tmp_path / "out.ply") == 3
    assert edit(tmp_path / "none.ply", "--to", tmp_path / "out.ply") == 3
    assert edit(files[0], "--to", tmp_path / "out.obj") == 2
    assert edit("--to", tmp_path / "out.ply") == 2
    assert str(tmp_path / "cut.ply") in capsys.readouterr().err
