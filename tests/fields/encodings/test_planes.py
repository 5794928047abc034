"""Planes through the axes against bilinear interpolation by hand."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings.planes import KPlanesEncoding, TriPlaneEncoding


def interpolated(grid, pair):
    """PyTorch's own sampler on one plane."""
    flipped = (2 * pair - 1).flip(-1)[None, None]
    found = torch.nn.functional.grid_sample(grid.permute(2, 0, 1)[None], flipped, align_corners=True)
    return found[0, :, 0].T


@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_tri_planes_add_and_k_planes_multiply(dimension):
    points = torch.rand(30, dimension)
    added, multiplied = TriPlaneEncoding(dimension, 7, 3), KPlanesEncoding(dimension, (5, 9), 2)
    pairs = [(a, b) for a in range(dimension) for b in range(a + 1, dimension)]

    def features(planes):
        rows = zip(planes, pairs, strict=True)
        return torch.stack([interpolated(plane.grid, points[:, list(pair)]) for plane, pair in rows])

    torch.testing.assert_close(added(points), features(added.planes[0]).sum(0))
    wanted = torch.cat([features(planes).prod(0) for planes in multiplied.planes], dim=1)
    torch.testing.assert_close(multiplied(points), wanted)


def test_nothing_changes_with_time_at_first():
    encoding = KPlanesEncoding(4, (6,), 5, time_axis=3)
    points = torch.rand(20, 4)
    later = points.clone()
    later[:, 3] = torch.rand(20)
    torch.testing.assert_close(encoding(points), encoding(later))
    assert float((encoding(points) - encoding(points.flip(0))).abs().max()) > 1e-3


def test_refuses_points_of_one_coordinate_and_an_axis_that_is_not_there():
    with pytest.raises(UsageError, match="at least 2 coordinates"):
        TriPlaneEncoding(1)
    with pytest.raises(UsageError, match="axes 0 to 2, got time_axis 3"):
        KPlanesEncoding(3, time_axis=3)
