import numpy as np
import pytest

from onefield.errors import DataError
from onefield.export.bit_planes import decode_planes, encode_planes, packed, unpacked

NUMBERS = np.rint(np.random.default_rng(0).laplace(scale=40, size=3001)).astype(np.int64)


def test_all_planes_give_the_numbers_and_fewer_the_middle_of_what_is_open():
    planes = encode_planes(NUMBERS)
    assert len(planes) == int(np.abs(NUMBERS).max()).bit_length()
    assert np.array_equal(decode_planes(planes, len(planes), len(NUMBERS)), NUMBERS)
    for missing in range(1, len(planes) + 1):
        coarse = decode_planes(planes[:-missing], len(planes), len(NUMBERS))
        cell = 2**missing
        begun = np.abs(NUMBERS) >= cell
        assert np.array_equal(coarse[~begun], np.zeros((~begun).sum()))
        # the cell of a number begins at the multiple below it and ends before the next
        expected = np.abs(NUMBERS[begun]) // cell * cell + (cell - 1) / 2
        assert np.array_equal(coarse[begun], np.sign(NUMBERS[begun]) * expected)


def test_the_size_is_near_the_entropy():
    numbers = np.rint(np.random.default_rng(1).laplace(scale=10, size=100_000)).astype(np.int64)
    _, counts = np.unique(numbers, return_counts=True)
    entropy = -(counts * np.log2(counts / len(numbers))).sum() / len(numbers)
    bits = 8 * sum(map(len, encode_planes(numbers))) / len(numbers)
    assert entropy < bits < 1.04 * entropy


@pytest.mark.parametrize("numbers", [[], [0, 0, 0], [5], [-1, 0, 2**23 - 1]])
def test_few_and_zero_and_large_numbers(numbers):
    given = np.array(numbers, np.int64)
    planes = encode_planes(given)
    assert np.array_equal(decode_planes(planes, len(planes), len(given)), given)


def test_parts_of_another_length_are_refused():
    planes = encode_planes(NUMBERS)
    with pytest.raises(DataError, match="instead of"):
        decode_planes(planes, len(planes), len(NUMBERS) + 9)
    with pytest.raises(DataError, match="can't be unpacked"):
        unpacked(b"\x7f" * 40, 100)
    with pytest.raises(DataError, match="unpacks to 11 bytes instead of 10"):
        unpacked(packed(bytes(10**6)), 10)  # no more than asked for is unpacked, plus one to see that there is more
