"""Flow as files: what is read, in which size, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.data.flow_files import flow_path, read_flow
from onefield.errors import DataError


def test_displacements_become_places_in_the_other_photo(tmp_path):
    flow = np.zeros((4, 8, 2), dtype=np.float32)
    flow[1, 2] = [3.0, 0.5]
    flow[0, 0] = np.nan
    valid = np.ones((4, 8), dtype=bool)
    valid[3, 7] = False
    path = flow_path(tmp_path, "images/a.one.png", "images/b.png")
    assert path.name == "a.one--b.npz"
    np.savez(path, flow=flow, valid=valid)
    read = read_flow(path, 8, 4)
    torch.testing.assert_close(read.positions[1, 2], torch.tensor([5.5 / 8, 2.0 / 4]))
    torch.testing.assert_close(read.positions[2, 6], torch.tensor([6.5 / 8, 2.5 / 4]))
    assert (~read.valid).nonzero().tolist() == [[0, 0], [3, 7]]


def test_flow_of_another_size_is_in_its_own_pixels(tmp_path):
    path = tmp_path / "a--b.npz"
    np.savez(path, flow=np.full((4, 8, 2), [2.0, -1.0], dtype=np.float32))
    read = read_flow(path, 16, 8)
    assert read.valid.all()
    # a quarter of the width to the right, a quarter of the height up
    torch.testing.assert_close(read.positions[5, 9], torch.tensor([9.5 / 16 + 0.25, 5.5 / 8 - 0.25]))


def test_a_pair_without_a_file_has_no_flow(tmp_path):
    assert read_flow(flow_path(tmp_path, "a.png", "b.png"), 4, 4) is None


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"moves": np.zeros((4, 4, 2))}, "no array 'flow'"),
        ({"flow": np.zeros((4, 4, 3))}, r"shape \(4, 4, 3\)"),
        ({"flow": np.zeros((4, 4, 2), dtype=np.int32)}, "floating-point"),
        ({"flow": np.zeros((4, 4, 2)), "valid": np.ones((2, 4))}, "'valid' has shape"),
    ],
)
def test_other_arrays_are_named(tmp_path, arrays, words):
    path = tmp_path / "a--b.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=words):
        read_flow(path, 4, 4)
