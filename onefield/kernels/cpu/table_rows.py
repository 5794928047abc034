"""Rows of a feature table, for blocks of points that each touch several of them.

``rows`` and ``weights`` are ``corners block`` arrays, a point's features lie in ``width`` columns from ``column`` on,
and the block begins at point ``first``. Features are taken four, two or one at a time, so that one load takes them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
from numba import njit

# Sums may be reordered and fused within a kernel; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz"}
# Up to this many points one thread is as fast as two idle ones (measured with 8 levels of 4 features), and a hundred
# times faster where another process holds a core, for it waits for nobody.
SERIAL = 512
_ZERO = np.float32(0)


@contextmanager
def threads_for(points: int) -> Iterator[int]:
    """Within the context kernels use one thread for few points and all threads for more; yields the number."""
    available = numba.get_num_threads()
    chosen = 1 if points <= SERIAL else available
    numba.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        numba.set_num_threads(available)


@njit(cache=True, error_model="numpy", fastmath=FAST)
def gather(corners, table, width, rows, weights, count, out, first, column):
    """Writes each point's weighted sum of table rows."""
    lane = 0
    while width - lane >= 4:
        for p in range(count):
            a = b = c = d = _ZERO
            for corner in range(corners):
                weight = weights[corner, p]
                row = np.int64(rows[corner, p])
                a += weight * table[row, lane]
                b += weight * table[row, lane + 1]
                c += weight * table[row, lane + 2]
                d += weight * table[row, lane + 3]
            out[first + p, column + lane] = a
            out[first + p, column + lane + 1] = b
            out[first + p, column + lane + 2] = c
            out[first + p, column + lane + 3] = d
        lane += 4
    while width - lane >= 2:
        for p in range(count):
            a = b = _ZERO
            for corner in range(corners):
                weight = weights[corner, p]
                row = np.int64(rows[corner, p])
                a += weight * table[row, lane]
                b += weight * table[row, lane + 1]
            out[first + p, column + lane] = a
            out[first + p, column + lane + 1] = b
        lane += 2
    if width > lane:
        for p in range(count):
            a = _ZERO
            for corner in range(corners):
                a += weights[corner, p] * table[np.int64(rows[corner, p]), lane]
            out[first + p, column + lane] = a


@njit(cache=True, error_model="numpy", fastmath=FAST)
def scatter(corners, gradient, width, rows, weights, count, cotangents, first, column):
    """Adds each point's cotangent, weighted, to the rows of its corners."""
    lane = 0
    while width - lane >= 4:
        for p in range(count):
            a = cotangents[first + p, column + lane]
            b = cotangents[first + p, column + lane + 1]
            c = cotangents[first + p, column + lane + 2]
            d = cotangents[first + p, column + lane + 3]
            for corner in range(corners):
                weight = weights[corner, p]
                row = np.int64(rows[corner, p])
                gradient[row, lane] += weight * a
                gradient[row, lane + 1] += weight * b
                gradient[row, lane + 2] += weight * c
                gradient[row, lane + 3] += weight * d
        lane += 4
    while width - lane >= 2:
        for p in range(count):
            a = cotangents[first + p, column + lane]
            b = cotangents[first + p, column + lane + 1]
            for corner in range(corners):
                weight = weights[corner, p]
                row = np.int64(rows[corner, p])
                gradient[row, lane] += weight * a
                gradient[row, lane + 1] += weight * b
        lane += 2
    if width > lane:
        for p in range(count):
            a = cotangents[first + p, column + lane]
            for corner in range(corners):
                gradient[np.int64(rows[corner, p]), lane] += weights[corner, p] * a


@njit(cache=True, error_model="numpy", fastmath=FAST)
def dot(corners, table, width, rows, count, cotangents, first, column, strengths):
    """Inner product of each corner's table row with the point's cotangent."""
    strengths[:, :count] = _ZERO
    lane = 0
    while width - lane >= 2:
        for p in range(count):
            a = cotangents[first + p, column + lane]
            b = cotangents[first + p, column + lane + 1]
            for corner in range(corners):
                row = np.int64(rows[corner, p])
                strengths[corner, p] += table[row, lane] * a + table[row, lane + 1] * b
        lane += 2
    if width > lane:
        for p in range(count):
            a = cotangents[first + p, column + lane]
            for corner in range(corners):
                strengths[corner, p] += table[np.int64(rows[corner, p]), lane] * a
