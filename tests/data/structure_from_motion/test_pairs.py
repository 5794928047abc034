"""Pairs: all of few, and of many those that show the same, found from the photos alone."""

from __future__ import annotations

import numpy as np

from onefield.data.structure_from_motion.pairs import (
    ALIKE,
    ALL_PAIRS_UP_TO,
    NEIGHBOURS,
    choose_pairs,
    count_pairs,
    photo_likeness,
)


def test_few_photos_are_all_compared():
    pairs = choose_pairs(ALL_PAIRS_UP_TO, None)
    assert len(pairs) == len(set(pairs)) == count_pairs(ALL_PAIRS_UP_TO)
    assert all(first < second for first, second in pairs)


def test_a_walk_that_comes_back_is_closed():
    """Photos on a circle share landmarks with those near by; the last ones with the first ones, far apart in time."""
    generator = np.random.default_rng(3)
    photos, landmarks = 120, 1200
    looks = generator.uniform(0, 255, (landmarks, 32))
    descriptors = []
    for photo in range(photos):
        seen = (np.arange(60) + photo * landmarks // photos) % landmarks
        descriptors.append(looks[seen] + generator.normal(0, 4, (60, 32)))
    descriptors[50] = np.zeros((0, 32))
    pairs = set(choose_pairs(photos, photo_likeness(descriptors)))
    assert len(pairs) < photos * (len(NEIGHBOURS) + ALIKE)
    assert {(first, first + 1) for first in range(photos - 1)} <= pairs
    closing = [(first, second) for first, second in pairs if second - first > photos - 5]
    assert {(0, 119), (0, 118), (1, 119)} <= set(closing)


def test_likeness_is_a_cosine():
    generator = np.random.default_rng(0)
    some = generator.uniform(0, 255, (200, 16))
    other = generator.uniform(0, 255, (200, 16))
    likeness = photo_likeness([some, some + generator.normal(0, 1, some.shape), other, np.zeros((0, 16))])
    np.testing.assert_allclose(np.diag(likeness)[:3], 1, atol=1e-5)
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]
    assert (likeness[3] == 0).all()
