"""Pictures of meshes that the command line draws."""

import imageio.v3 as imageio
import pytest
import torch

from onefield.tools.pictures import write_mesh_picture
from onefield.types import Mesh


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_a_spire_stands_on_its_foot_whatever_its_axis(up: str, tmp_path):
    axis, sign = "xyz".index(up[-1]), -1.0 if up.startswith("-") else 1.0
    foot = [[-0.3, -0.3], [0.3, -0.3], [0.3, 0.3], [-0.3, 0.3]]
    corners = torch.zeros(5, 3)
    corners[:4, [(axis + 1) % 3, (axis + 2) % 3]] = torch.tensor(foot)
    corners[4, axis] = 2.0 * sign
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]])
    write_mesh_picture(tmp_path / "spire.png", Mesh(corners, faces if sign > 0 else faces.flip(1)), up=up)
    picture = imageio.imread(tmp_path / "spire.png")
    drawn = (picture[:, : picture.shape[0]] < 250).any(-1)
    rows = drawn.any(1).nonzero()[0]
    middle = (rows[0] + rows[-1]) // 2
    assert len(rows) > 2 * drawn.any(0).sum()
    assert drawn[middle:].sum() > 2 * drawn[:middle].sum()
