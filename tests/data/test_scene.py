import json
import math

import pytest
import torch

from onefield.data.scene import Similarity
from onefield.errors import DataError


def some_similarity() -> Similarity:
    angle = 0.7
    rotation = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    return Similarity(0.25, rotation, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))


def test_application_is_the_documented_formula():
    similarity = some_similarity()
    points = torch.randn(4, 5, 3, dtype=torch.float64)
    homogeneous = torch.cat([points, torch.ones(4, 5, 1, dtype=torch.float64)], dim=-1)
    torch.testing.assert_close(similarity.apply(points), (homogeneous @ similarity.matrix.T)[..., :3])


def test_everything_comes_back():
    similarity = some_similarity()
    shifted = Similarity.about(torch.tensor([4.5e5, 5.4e6, 300.0]), 0.01, similarity.rotation)
    for one in (similarity, shifted):
        points = torch.randn(7, 3, dtype=torch.float64) + one.invert(torch.zeros(3))
        torch.testing.assert_close(one.invert(one.apply(points)), points, rtol=1e-14, atol=1e-9)
        torch.testing.assert_close(one.inverse().apply(one.apply(points)), points, rtol=1e-13, atol=1e-8)
        poses = torch.cat([one.rotation, points[0].unsqueeze(-1)], dim=-1).expand(2, 3, 4)
        torch.testing.assert_close(one.invert_poses(one.apply_poses(poses)), poses, rtol=1e-14, atol=1e-9)
        directions = torch.randn(3, 3, dtype=torch.float64)
        turned = one.apply_directions(directions)
        torch.testing.assert_close(turned.norm(dim=-1), directions.norm(dim=-1))
        torch.testing.assert_close(one.invert_directions(turned), directions)
        assert one.invert_distances(one.apply_distances(3.0)) == pytest.approx(3.0)
        again = Similarity.from_record(json.loads(json.dumps(one.to_record())))
        assert torch.equal(again.matrix, one.matrix)


def test_distances_scale_as_points_do():
    similarity = some_similarity()
    a, b = torch.randn(2, 6, 3, dtype=torch.float64)
    moved = (similarity.apply(a) - similarity.apply(b)).norm(dim=-1)
    torch.testing.assert_close(moved, similarity.apply_distances((a - b).norm(dim=-1)))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"scale": 1, "rotation": "x", "translation": [0, 0, 0]},
        {"scale": -1, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 0]},
        {"scale": 1, "rotation": [[1, 0, 0], [0, 2, 0], [0, 0, 1]], "translation": [0, 0, 0]},
        {"scale": 1, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]], "translation": [0, 0, 0]},
        {"scale": 1, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, float("nan"), 0]},
    ],
)
def test_broken_records_are_refused(record):
    with pytest.raises(DataError, match="transform needs"):
        Similarity.from_record(record)
