"""Rows of a feature table, for blocks of points that each touch several of them.

``rows`` and ``weights`` are ``corners block`` arrays, a point's features lie in ``width`` columns from ``column`` on,
and the block begins at point ``first``. Features are taken four, two or one at a time, as one vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
from numba import njit

from onefield.kernels.cpu.lanes import add_scaled, load, store, zeros

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
            total = zeros(4)
            for corner in range(corners):
                total = add_scaled(total, weights[corner, p], load(table, rows[corner, p], lane, 4))
            store(out, first + p, column + lane, total)
        lane += 4
    while width - lane >= 2:
        for p in range(count):
            total = zeros(2)
            for corner in range(corners):
                total = add_scaled(total, weights[corner, p], load(table, rows[corner, p], lane, 2))
            store(out, first + p, column + lane, total)
        lane += 2
    if width > lane:
        for p in range(count):
            total = zeros(1)
            for corner in range(corners):
                total = add_scaled(total, weights[corner, p], load(table, rows[corner, p], lane, 1))
            store(out, first + p, column + lane, total)


@njit(cache=True, error_model="numpy", fastmath=FAST)
def scatter(corners, gradient, width, rows, weights, count, cotangents, first, column):
    """Adds each point's cotangent, weighted, to the rows of its corners."""
    lane = 0
    while width - lane >= 4:
        for p in range(count):
            pushed = load(cotangents, first + p, column + lane, 4)
            for corner in range(corners):
                row = rows[corner, p]
                store(gradient, row, lane, add_scaled(load(gradient, row, lane, 4), weights[corner, p], pushed))
        lane += 4
    while width - lane >= 2:
        for p in range(count):
            pushed = load(cotangents, first + p, column + lane, 2)
            for corner in range(corners):
                row = rows[corner, p]
                store(gradient, row, lane, add_scaled(load(gradient, row, lane, 2), weights[corner, p], pushed))
        lane += 2
    if width > lane:
        for p in range(count):
            pushed = load(cotangents, first + p, column + lane, 1)
            for corner in range(corners):
                row = rows[corner, p]
                store(gradient, row, lane, add_scaled(load(gradient, row, lane, 1), weights[corner, p], pushed))


@njit(cache=True, error_model="numpy")
def move(width, source, source_rows, source_column, target, target_rows, target_column, count):
    """Copies ``width`` columns of ``count`` rows; ``source_rows`` and ``target_rows`` are the first ones."""
    lane = 0
    while width - lane >= 4:
        for p in range(count):
            store(target, target_rows + p, target_column + lane, load(source, source_rows + p, source_column + lane, 4))
        lane += 4
    while width - lane >= 2:
        for p in range(count):
            store(target, target_rows + p, target_column + lane, load(source, source_rows + p, source_column + lane, 2))
        lane += 2
    if width > lane:
        for p in range(count):
            target[target_rows + p, target_column + lane] = source[source_rows + p, source_column + lane]


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
