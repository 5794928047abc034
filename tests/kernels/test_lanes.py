"""Vectors of float32 in kernels against NumPy."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from onefield.kernels.cpu.lanes import add_scaled, load, store, zeros


@njit
def one_lane(table, factor, out):
    store(out, 1, 2, add_scaled(load(out, 1, 2, 1), factor, load(table, 2, 3, 1)))


@njit
def two_lanes(table, factor, out):
    store(out, 1, 2, add_scaled(load(out, 1, 2, 2), factor, load(table, 2, 3, 2)))


@njit
def four_lanes(table, factor, out):
    store(out, 1, 2, add_scaled(load(out, 1, 2, 4), factor, load(table, 2, 3, 4)))


@njit
def clear(out):
    store(out, 0, 1, zeros(4))


@pytest.mark.parametrize(("kernel", "lanes"), [(one_lane, 1), (two_lanes, 2), (four_lanes, 4)])
def test_a_row_is_scaled_and_added_in_its_lanes_only(kernel, lanes):
    generator = np.random.default_rng(lanes)
    table, out = (generator.random((3, 8), dtype=np.float32) for _ in range(2))
    expected = out.copy()
    expected[1, 2 : 2 + lanes] += np.float32(0.7) * table[2, 3 : 3 + lanes]
    kernel(table, np.float32(0.7), out)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert (out != expected).sum() <= lanes


def test_zeros_are_stored_in_their_lanes_only():
    out = np.ones((2, 6), np.float32)
    clear(out)
    assert out.tolist() == [[1, 0, 0, 0, 0, 1], [1] * 6]


@pytest.mark.parametrize("table", [np.ones((3, 8)), np.ones(8, np.float32), np.ones((8, 3), np.float32).T])
def test_other_arrays_are_refused_by_the_compiler(table):
    with pytest.raises(TypingError):
        clear(table)


def test_lanes_unknown_to_the_compiler_are_refused():
    @njit
    def unknown(table, lanes):
        store(table, 0, 0, load(table, 1, 0, lanes))

    with pytest.raises(TypingError):
        unknown(np.ones((2, 4), np.float32), 2)
