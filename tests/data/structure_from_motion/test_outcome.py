"""Each way in which a picture fails has its own reason."""

from __future__ import annotations

import pytest

from onefield.data.structure_from_motion.job import JobResult, PictureOutcome
from onefield.data.structure_from_motion.outcome import groups_apart, left_out


@pytest.mark.parametrize(
    ("features", "matched", "placed", "reason", "found"),
    [
        (12, 0, 0, "too few features", "12 features"),
        (4000, 0, 0, "no matches", "none found again"),
        (4000, 5, 0, "no matches", "all of them left out"),
        (4000, 5, 3, "wrong geometry", "agrees with 3 photos"),
    ],
)
def test_reasons(features, matched, placed, reason, found):
    pictures = [PictureOutcome("good", True, 5000, 9, 9), PictureOutcome("bad", False, features, matched, placed)]
    (item,) = left_out(JobResult(pictures, "shared intrinsics", [1]))
    assert (item.name, item.reason) == ("bad", reason)
    assert found in item.found
    assert item.cure


def test_groups_that_share_nothing_are_told():
    pictures = [PictureOutcome(str(i), i < 6, 900, 5, 5) for i in range(10)]
    assert "don't connect" in groups_apart(JobResult(pictures, "", [6, 4]))
    assert groups_apart(JobResult(pictures, "", [6])) is None
    # a smaller model of the same pictures is no other group
    assert groups_apart(JobResult(pictures, "", [6, 5])) is None
