"""Which photos to compare: all with all, or neighbours in time and those that look alike.

Likeness is measured by VLAD (Jegou et al. 2010, "Aggregating local descriptors into a compact image representation")
over a vocabulary that is learnt from the photos themselves, so nothing is downloaded.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.cluster.vq import kmeans2, vq

ALL_PAIRS_UP_TO = 80
# Photos before and after, and at growing distances, which closes gaps where a few photos in between fail.
NEIGHBOURS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)
ALIKE = 15
_WORDS = 64
_TRAINING_DESCRIPTORS = 30_000
_DESCRIPTORS_A_PHOTO = 1500
_LEAST_LENGTH = 1e-12


def count_pairs(photos: int) -> int:
    """About how many pairs `choose_pairs` gives."""
    if photos <= ALL_PAIRS_UP_TO:
        return photos * (photos - 1) // 2
    return photos * (len(NEIGHBOURS) + ALIKE * 2 // 3)


def choose_pairs(photos: int, likeness: Float[np.ndarray, "C C"] | None) -> list[tuple[int, int]]:
    """Pairs of indices, first below second, sorted.

    Args:
        photos: how many there are, in the order in which they were taken.
        likeness: see `photo_likeness`; needed for more than `ALL_PAIRS_UP_TO` photos.
    """
    if photos <= ALL_PAIRS_UP_TO or likeness is None:
        return [(first, second) for first in range(photos) for second in range(first + 1, photos)]
    chosen = {(first, first + step) for step in NEIGHBOURS for first in range(photos - step)}
    ranked = likeness.copy()
    np.fill_diagonal(ranked, -np.inf)
    for first, row in enumerate(np.argsort(-ranked, axis=1)[:, :ALIKE]):
        chosen |= {(min(first, int(second)), max(first, int(second))) for second in row}
    return sorted(chosen)


def photo_likeness(descriptors: list[Float[np.ndarray, "n d"]]) -> Float[np.ndarray, "C C"]:
    """Cosines between the photos' VLAD vectors; a photo without descriptors is like none.

    Args:
        descriptors: of each photo's features.
    """
    generator = np.random.default_rng(0)
    some = [_sample(item, _DESCRIPTORS_A_PHOTO, generator) for item in descriptors]
    everything = np.concatenate(some)
    training = _sample(everything, _TRAINING_DESCRIPTORS, generator)
    words, _ = kmeans2(training, min(_WORDS, len(training)), iter=12, minit="++", rng=generator)
    vectors = np.stack([_vlad(item, words) for item in some])
    return vectors @ vectors.T


def _sample(rows: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    if len(rows) <= most:
        return rows
    return rows[generator.choice(len(rows), most, replace=False)]


def _vlad(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Residuals to the nearest words, summed; signed roots, each word and then the whole of unit length."""
    sums = np.zeros_like(words)
    if len(descriptors):
        nearest, _ = vq(descriptors, words)
        np.add.at(sums, nearest, descriptors - words[nearest])
    sums = np.sign(sums) * np.sqrt(np.abs(sums))
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _LEAST_LENGTH)
    vector = sums.ravel()
    return vector / max(float(np.linalg.norm(vector)), _LEAST_LENGTH)
