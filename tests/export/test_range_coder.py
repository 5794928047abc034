import math

import numpy as np
import pytest
from scipy.special import gammaln

from onefield.export.range_coder import Contexts, decode_bits, encode_bits


@pytest.mark.parametrize("count", [0, 1, 2, 9, 3000])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 0.97, 1.0])
def test_bits_come_back_in_the_size_that_their_counts_have(count, share):
    random = np.random.default_rng(count)
    keys = random.integers(0, 3, count)
    # one context has as many ones as another has zeros
    bits = (random.random(count) < np.where(keys == 1, share, 1 - share)).astype(int)
    coded = encode_bits(bits.tolist(), keys.tolist(), Contexts())
    assert decode_bits(coded, keys.tolist(), Contexts()) == bits.tolist()
    ones = np.array([bits[keys == key].sum() for key in range(3)])
    zeros = np.array([(keys == key).sum() for key in range(3)]) - ones
    # Krichevsky and Trofimov's probability of the whole row
    chances = gammaln(ones + 0.5) + gammaln(zeros + 0.5) - gammaln(ones + zeros + 1) - math.log(math.pi)
    assert 8 * len(coded) <= -chances.sum() / math.log(2) + 16


def test_contexts_go_on_from_row_to_row():
    rows, keys = [[0] * 50, [1, 0, 0] * 20], [[7] * 50, [7] * 60]
    written, read = Contexts(), Contexts()
    coded = [encode_bits(bits, key, written) for bits, key in zip(rows, keys, strict=True)]
    assert [decode_bits(part, key, read) for part, key in zip(coded, keys, strict=True)] == rows


def test_long_carries_reach_the_bytes_before():
    """Rows that keep the lower end just beneath a power: most of the time the last byte is 255."""
    for seed in range(200):
        bits = (np.random.default_rng(seed).random(60) < 0.9).astype(int).tolist()
        assert decode_bits(encode_bits(bits, [0] * 60, Contexts()), [0] * 60, Contexts()) == bits
