import math
import sys

import numpy as np
import pytest
from scipy.special import gammaln

from onefield.errors import DataError, ResourceError
from onefield.export.range_coder import Contexts, decode_bits, encode_bits


@pytest.mark.parametrize("count", [0, 1, 2, 9, 3000])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 0.97, 1.0])
def test_bits_come_back_in_about_the_size_that_their_counts_have(count, share):
    random = np.random.default_rng(count)
    keys = random.integers(0, 3, count)
    # one context has as many ones as another has zeros
    bits = random.random(count) < np.where(keys == 1, share, 1 - share)
    coded = encode_bits(bits, keys, Contexts(3))
    assert np.array_equal(decode_bits(coded, keys, Contexts(3)), bits)
    ones = np.array([bits[keys == key].sum() for key in range(3)])
    zeros = np.array([(keys == key).sum() for key in range(3)]) - ones
    # Krichevsky and Trofimov's probability of the whole row; counts of a block are those before it, and words have 32
    # bits
    chances = gammaln(ones + 0.5) + gammaln(zeros + 0.5) - gammaln(ones + zeros + 1) - math.log(math.pi)
    assert 8 * len(coded) <= -chances.sum() / math.log(2) + 48


def test_contexts_go_on_from_row_to_row():
    rows, keys = [np.zeros(50, bool), np.arange(60) % 3 == 0], [np.full(50, 7), np.full(60, 7)]
    written, read = Contexts(8), Contexts(8)
    coded = [encode_bits(bits, key, written) for bits, key in zip(rows, keys, strict=True)]
    for part, key, bits in zip(coded, keys, rows, strict=True):
        assert np.array_equal(decode_bits(part, key, read), bits)


def test_bits_of_every_likelihood_come_back_without_the_zeros_behind():
    for seed in range(200):
        bits = np.random.default_rng(seed).random(60) < 0.9
        coded = encode_bits(bits, np.zeros(60, int), Contexts(1))
        assert coded[-1:] != b"\0"
        assert np.array_equal(decode_bits(coded, np.zeros(60, int), Contexts(1)), bits)


def test_other_bytes_end_in_words_or_in_other_bits(monkeypatch):
    assert len(decode_bits(b"anything", np.zeros(300, int), Contexts(1))) == 300
    with pytest.raises(DataError, match="no such bits"):
        decode_bits(b"\xff" * 12, np.zeros(300, int), Contexts(1))
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ResourceError, match=r"onefield\[compress\]"):
        encode_bits(np.ones(1, bool), np.zeros(1, int), Contexts(1))
