import numpy as np
import pytest

from onefield.errors import DataError
from onefield.export.bit_planes import coded_size, decode_planes, encode_planes, plane_counts

# Two groups of another spread each.
SIZES = (2401, 600)
NUMBERS = np.concatenate(
    [
        np.rint(np.random.default_rng(0).laplace(scale=s, size=n)).astype(np.int64)
        for s, n in zip((40, 3), SIZES, strict=True)
    ]
)
TOPS = plane_counts(NUMBERS, SIZES)


def ones(planes):
    return [1] * len(planes)


def test_all_planes_give_the_numbers_and_fewer_the_middle_of_what_is_open():
    planes = encode_planes(NUMBERS, SIZES)
    assert len(planes) == max(TOPS) == int(np.abs(NUMBERS).max()).bit_length() > TOPS[1]
    assert np.array_equal(decode_planes(planes, ones(planes), TOPS, SIZES), NUMBERS)
    for missing in range(1, len(planes) + 1):
        coarse = decode_planes(planes[:-missing], ones(planes[:-missing]), TOPS, SIZES)
        cell = 2**missing
        begun = np.abs(NUMBERS) >= cell
        assert np.array_equal(coarse[~begun], np.zeros((~begun).sum()))
        # the cell of a number begins at the multiple below it and ends before the next
        expected = np.abs(NUMBERS[begun]) // cell * cell + (cell - 1) / 2
        assert np.array_equal(coarse[begun], np.sign(NUMBERS[begun]) * expected)


def test_planes_may_share_a_part_and_be_left():
    planes = encode_planes(NUMBERS, SIZES)
    parts, counts = [b"".join(planes[:4]), *planes[4:]], [4, *ones(planes[4:])]
    for limit in (0, 2, 4, 5, len(planes)):
        by_planes = decode_planes(planes[:limit], ones(planes[:limit]), TOPS, SIZES)
        assert np.array_equal(decode_planes(parts, counts, TOPS, SIZES, limit), by_planes)


def test_the_size_is_near_the_entropy_and_is_known_before():
    for count, most in ((100_000, 1.01), (2_000, 1.04)):
        numbers = np.rint(np.random.default_rng(1).laplace(scale=10, size=count)).astype(np.int64)
        _, counts = np.unique(numbers, return_counts=True)
        entropy = -(counts * np.log2(counts / count)).sum() / 8
        size = sum(map(len, encode_planes(numbers, [count])))
        # no more than the law's own entropy, of which a small sample has less
        scale_entropy = count * np.log2(2 * np.e * 10) / 8
        assert 0.97 * scale_entropy < size < most * max(entropy, scale_entropy)
        assert coded_size(numbers, [count]) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("numbers", [[], [0, 0, 0], [5], [-1, 0, 2**23 - 1]])
def test_few_and_zero_and_large_numbers(numbers):
    given, sizes = np.array(numbers, np.int64), [len(numbers)]
    planes = encode_planes(given, sizes)
    assert np.array_equal(decode_planes(planes, ones(planes), plane_counts(given, sizes), sizes), given)


def test_parts_of_another_length_are_refused():
    planes = encode_planes(NUMBERS, SIZES)
    with pytest.raises(DataError, match=r"instead of|too many"):
        decode_planes(planes, ones(planes), TOPS, (SIZES[0] + 9, SIZES[1]))
    with pytest.raises(DataError, match="3 bytes too many"):
        decode_planes([*planes[:-1], planes[-1] + b"abc"], ones(planes), TOPS, SIZES)
    with pytest.raises(DataError, match="a bit plane is empty"):
        decode_planes([b""], [1], TOPS, SIZES)
