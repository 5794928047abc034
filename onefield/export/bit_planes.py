"""Whole numbers as bit planes, most significant first: each prefix of them holds the same numbers, coarser.

A plane says three things, as the embedded coders of pictures do (Shapiro 1993, Said and Pearlman 1996): for each number
that was 0 so far whether it is so no more, the signs of those that begin, and one more bit of the others. Whether a
number begins, and the first bit after, are far from even, and how far depends on how many planes lie above in the
number's group: that is their context in the range coder. Signs and further bits are as good as random and are stored as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from onefield.errors import DataError
from onefield.export.lengths import pack_length, unpack_length
from onefield.export.range_coder import Contexts, decode_bits, encode_bits

# float32 holds no more.
MOST_PLANES = 24
# Bytes by which coded bits end later than their entropy, about: the coder's words have four.
_ROUNDED_UP = 3
# Contexts of first bits after beginning come behind those of beginning.
_AFTER = 32


def plane_counts(numbers: np.ndarray, sizes: Sequence[int]) -> list[int]:
    """Planes that hold all bits of each group of whole numbers.

    Args:
        sizes: of the groups, in their order.
    """
    groups = np.split(np.abs(numbers), np.cumsum(sizes)[:-1])
    return [int(group.max(initial=0)).bit_length() for group in groups]


def encode_planes(numbers: np.ndarray, sizes: Sequence[int]) -> list[bytes]:
    """The planes of whole numbers, int64 of shape ``n``, most significant first.

    Args:
        sizes: of groups of numbers of one law each.
    """
    contexts, planes = Contexts(2 * _AFTER), []
    for bits, keys, rest in _planes(numbers, sizes):
        coded = encode_bits(bits, keys, contexts)
        planes.append(pack_length(len(coded)) + coded + np.packbits(rest).tobytes())
    return planes


def coded_size(numbers: np.ndarray, sizes: Sequence[int]) -> float:
    """Bytes that `encode_planes` would need, without encoding: the counts of each context say it."""
    counts, size = np.zeros((2 * _AFTER, 2)), 0.0
    for bits, keys, rest in _planes(numbers, sizes):
        np.add.at(counts, (keys, bits.astype(np.int64)), 1)
        size += 1 + _ROUNDED_UP + len(rest) / 8
    # the probability that the estimator of Krichevsky and Trofimov gives to a row of bits
    chances = gammaln(counts + 0.5).sum(1) - gammaln(counts.sum(1) + 1) - np.log(np.pi)
    return size - chances.sum() / np.log(2) / 8


def _planes(numbers: np.ndarray, sizes: Sequence[int]):
    """Of each plane the bits to code, their contexts, and the bits to store."""
    tops = plane_counts(numbers, sizes)
    top_of_each = np.repeat(tops, sizes)
    magnitudes, negative = np.abs(numbers), numbers < 0
    lengths = np.frexp(magnitudes)[1]  # of the numbers in bits
    for place in reversed(range(max(tops, default=0))):
        open_still = (lengths <= place + 1) & (top_of_each > place)
        begins = lengths == place + 1
        after, later = lengths == place + 2, lengths > place + 2
        bits = magnitudes >> place & 1
        keys = top_of_each - place
        yield (
            np.concatenate([begins[open_still], bits[after] == 1]),
            np.concatenate([keys[open_still], _AFTER + keys[after]]),
            np.concatenate([negative[begins], bits[later].astype(bool)]),
        )


def decode_planes(
    parts: Sequence[bytes],
    counts: Sequence[int],
    tops: Sequence[int],
    sizes: Sequence[int],
    limit: int = MOST_PLANES,
) -> np.ndarray:
    """Numbers from the first planes, float64 of shape ``n``: the middle of what the missing planes leave open.

    Args:
        parts: bytes of planes, in their order.
        counts: planes that each part holds.
        tops: planes that hold all bits of each group of numbers.
        sizes: of these groups.
        limit: most planes to decode.

    Raises:
        DataError: a plane that does not fit those before it.
    """
    top_of_each, contexts = np.repeat(np.asarray(tops, np.int64), sizes), Contexts(2 * _AFTER)
    magnitudes, negative = np.zeros(len(top_of_each), np.int64), np.zeros(len(top_of_each), bool)
    # 0: not begun; 1: begun in the plane before; 2: earlier
    age, place = np.zeros(len(top_of_each), np.int64), max(tops, default=0)
    last = max(0, place - limit)
    for part, count in zip(parts, counts, strict=True):
        start, whole = 0, place - count >= last
        for _ in range(min(count, place - last)):
            place -= 1
            coded, start = _coded(part, start)
            fresh, after, later = (
                np.flatnonzero(each) for each in ((age == 0) & (top_of_each > place), age == 1, age == 2)
            )
            keys = np.concatenate([top_of_each[fresh], _AFTER + top_of_each[after]]) - place
            bits = decode_bits(coded, keys, contexts)
            begins = fresh[bits[: len(fresh)]]
            stored, start = _stored(part, start, len(begins) + len(later))
            negative[begins] = stored[: len(begins)]
            magnitudes <<= 1
            magnitudes[begins] += 1
            magnitudes[after] += bits[len(fresh) :]
            magnitudes[later] += stored[len(begins) :]
            age[after] = 2
            age[begins] = 1
        if whole and start != len(part):
            raise DataError(f"its bit planes hold {len(part) - start:,} bytes too many")
    missing = 1 << place
    middles = magnitudes * missing + np.where(magnitudes > 0, (missing - 1) / 2, 0.0)
    return np.where(negative, -middles, middles)


def _coded(part: bytes, start: int) -> tuple[bytes, int]:
    """The coded bits of a plane that begins there, and where its stored bits do."""
    found = unpack_length(part, start)
    if found is None:
        raise DataError("a bit plane is empty")
    length, begin = found
    return part[begin : begin + length], begin + length


def _stored(part: bytes, start: int, count: int) -> tuple[np.ndarray, int]:
    """So many stored bits, and where they end."""
    end = start + (count + 7) // 8
    if len(part) < end:
        raise DataError(f"a bit plane holds {8 * max(0, len(part) - start):,} bits instead of {count:,}")
    return np.unpackbits(np.frombuffer(part, np.uint8, end - start, start), count=count).astype(bool), end
