"""Sizes of rendered pictures."""

from __future__ import annotations

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.tools.render import DEFAULT_MOST_PIXELS, sized


def camera(width: int, height: int) -> Cameras:
    one = torch.ones(1, dtype=torch.int64)
    size = torch.tensor([[width, height]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)[None, :3]
    straight, fisheye = torch.zeros(1, 8, dtype=torch.float64), torch.zeros(1, dtype=torch.bool)
    return Cameras(pose, size, size / 2, one * width, one * height, straight, fisheye)


@pytest.mark.parametrize(("width", "height"), [(540, 960), (4000, 3000), (960, 540)])
def test_large_photos_are_rendered_smaller_whichever_way_they_stand(width: int, height: int) -> None:
    small = sized(camera(width, height), None)
    pixels = int(small.width[0] * small.height[0])
    assert 0.98 * DEFAULT_MOST_PIXELS < pixels < 1.02 * DEFAULT_MOST_PIXELS
    assert int(small.width[0]) / int(small.height[0]) == pytest.approx(width / height, rel=0.01)


def test_small_photos_keep_their_size_and_a_stated_width_is_taken() -> None:
    assert int(sized(camera(400, 400), None).width[0]) == 400
    wide = sized(camera(400, 300), 801)
    assert (int(wide.width[0]), int(wide.height[0])) == (800, 600)
    with pytest.raises(UsageError, match="--width"):
        sized(camera(400, 300), 1)
