"""An adaptive binary range coder: bits as near to their entropy as their contexts' counts tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# A state is refilled byte by byte while its range is below this, so that it always has 24 to 32 bits.
_FULL, _LEAST = 1 << 32, 1 << 24
# Counts are halved at this sum, which keeps their quotient well within the range.
_MOST_COUNTED = 1 << 14


class Contexts:
    """How often each context's bits were 0 and 1 so far; both sides of a coder keep the same.

    The probability of a bit is that of Krichevsky and Trofimov (1981): half a count more than there were.
    """

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}

    def of(self, key: int) -> list[int]:
        """Twice the counts of zeros and of ones, plus one."""
        return self._counts.setdefault(key, [1, 1])


def _count(counts: list[int], bit: int) -> None:
    counts[bit] += 2
    if counts[0] + counts[1] > _MOST_COUNTED:
        counts[0], counts[1] = counts[0] // 2 | 1, counts[1] // 2 | 1


def encode_bits(bits: Iterable[int], keys: Iterable[int], contexts: Contexts) -> bytes:
    """Bits, each in the context of its key, as bytes without zeros at the end; the contexts learn from them."""
    low, span, coded = 0, _FULL, bytearray()
    for bit, key in zip(bits, keys, strict=True):
        counts = contexts.of(key)
        bound = span * counts[0] // (counts[0] + counts[1])
        if bit:
            low, span = low + bound, span - bound
        else:
            span = bound
        _count(counts, bit)
        if low >= _FULL:
            low -= _FULL
            _carry(coded)
        while span < _LEAST:
            coded.append(low >> 24)
            low, span = (low << 8) % _FULL, span << 8
    # the number within the range that ends in most zeros
    zeros = (span - 1).bit_length() - 1
    last = -(-low >> zeros) << zeros
    if last >= _FULL:
        last -= _FULL
        _carry(coded)
    coded += last.to_bytes(4, "big")
    return bytes(coded).rstrip(b"\0")


def decode_bits(coded: bytes, keys: Sequence[int], contexts: Contexts) -> list[int]:
    """As many bits as there are keys; of bytes that end early or are others, whatever they then say."""
    padded = coded + bytes(4)
    value, place, span, bits = int.from_bytes(padded[:4], "big"), 4, _FULL, []
    for key in keys:
        counts = contexts.of(key)
        bound = span * counts[0] // (counts[0] + counts[1])
        if value >= bound:
            bit, value, span = 1, value - bound, span - bound
        else:
            bit, span = 0, bound
        _count(counts, bit)
        bits.append(bit)
        while span < _LEAST:
            value = value << 8 | (padded[place] if place < len(padded) else 0)
            place, span = place + 1, span << 8
    return bits


def _carry(coded: bytearray) -> None:
    place = len(coded) - 1
    while coded[place] == 0xFF:
        coded[place] = 0
        place -= 1
    coded[place] += 1
