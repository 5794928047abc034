"""Bits through the range coder of the library constriction, near the entropy that their contexts' counts tell."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Int

from onefield.errors import DataError
from onefield.extras import extra_library

# Of a row, so many bits are coded by the counts before it, then twice as many by those before these, and so on.
_FIRST_BLOCK, _LARGEST_BLOCK = 8, 1 << 12
_WORD = np.dtype("<u4")
# More than the coder looks ahead.
_AHEAD = 2 * _WORD.itemsize


class Contexts:
    """How often each context's bits were 0 and 1 so far; both sides of a coder keep the same."""

    def __init__(self, count: int) -> None:
        """Starts without any.

        Args:
            count: of contexts; keys are less.
        """
        self._ones = np.zeros(count)
        self._all = np.zeros(count)

    def chances(self, keys: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Of a 1 in each context, with half a count more than there were (Krichevsky and Trofimov 1981)."""
        return (self._ones[keys] + 0.5) / (self._all[keys] + 1.0)

    def learn(self, keys: Int[np.ndarray, "n"], bits: Bool[np.ndarray, "n"]) -> None:
        """Counts bits."""
        np.add.at(self._ones, keys, bits)
        np.add.at(self._all, keys, 1.0)


def encode_bits(bits: Bool[np.ndarray, "n"], keys: Int[np.ndarray, "n"], contexts: Contexts) -> bytes:
    """Bits, each in the context of its key, as bytes without zeros at the end; the contexts learn from them.

    Raises:
        ResourceError: constriction is not installed.
    """
    stream = coder_library().stream
    encoder, law = stream.queue.RangeEncoder(), stream.model.Bernoulli(perfect=False)
    for block in _blocks(len(bits)):
        encoder.encode(bits[block].astype(np.int32), law, contexts.chances(keys[block]))
        contexts.learn(keys[block], bits[block])
    return encoder.get_compressed().astype(_WORD).tobytes().rstrip(b"\0")


def decode_bits(coded: bytes, keys: Int[np.ndarray, "n"], contexts: Contexts) -> Bool[np.ndarray, "n"]:
    """As many bits as there are keys.

    Raises:
        DataError: bytes that no such bits give.
        ResourceError: constriction is not installed.
    """
    stream = coder_library().stream
    padded = coded + bytes(-len(coded) % _WORD.itemsize + _AHEAD)
    decoder = stream.queue.RangeDecoder(np.frombuffer(padded, _WORD).astype(np.uint32))
    law, bits = stream.model.Bernoulli(perfect=False), np.zeros(len(keys), bool)
    for block in _blocks(len(keys)):
        try:
            bits[block] = decoder.decode(law, contexts.chances(keys[block]))
        except AssertionError as error:
            raise DataError("its coded bits are no such bits") from error
        contexts.learn(keys[block], bits[block])
    return bits


def _blocks(count: int) -> Iterator[slice]:
    start, size = 0, _FIRST_BLOCK
    while start < count:
        yield slice(start, min(start + size, count))
        start, size = start + size, min(2 * size, _LARGEST_BLOCK)


def coder_library() -> ModuleType:
    """constriction, which codes what is compressed.

    Raises:
        ResourceError: it is not installed.
    """
    return extra_library("constriction", "compress", "A compressed fit")
