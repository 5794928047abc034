"""The pixels of a tile as vectors, for kernels that blend primitives a tile at a time.

A tile's memory is one array with its parts at fixed distances, which spares the compiler's vectors a comparison of
addresses; loops start at 0 and touch whole arrays for the same reason. Channels come last, as many as there are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import get_num_threads, njit
from torch import Tensor

from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE

FAST = {"contract", "nsz", "arcp", "reassoc"}
PIXELS = TILE * TILE
ZERO = np.float32(0)
HALF = np.float32(0.5)
ONE = np.float32(1)
ENDS = np.float32(STOP)
LEAST_LOG2 = np.float32(math.log2(LEAST_ALPHA))
# Where the parts begin: pixel centres, transmittance (negative where a pixel has ended), the weights of a primitive;
# then, for gradients, what the pixels have shown so far, what they show in all, and two of a primitive.
COLUMNS, LINES, PASSING, WEIGHTS = (PIXELS * part for part in range(4))
EARNED, GOAL, VALUES, PULLS, CHANNELS = (PIXELS * part for part in range(4, 9))
# Primitives between two looks whether any pixel of a tile still lets light through.
LOOK_EVERY = 16
# Primitives that a thread gathers at a time.
CHUNK = 64


@njit(fastmath=FAST, error_model="numpy")
def add(total, weights, count, value):
    """Adds a value in proportion to weights."""
    for k in range(count):
        total[k] += weights[k] * value


@njit(fastmath=FAST, error_model="numpy")
def dot(weights, values, count):
    """Sum of products."""
    total = ZERO
    for k in range(count):
        total += weights[k] * values[k]
    return total


@njit(fastmath=FAST, error_model="numpy")
def any_passes(passing):
    """Whether any pixel lets light through."""
    largest = ZERO
    for k in range(PIXELS):
        largest = max(largest, passing[k])
    return largest > ZERO


@njit
def begin(work):
    """Pixel centres of a tile, all of them bright."""
    for k in range(PIXELS):
        work[k + COLUMNS] = np.float32(k % TILE) + HALF
        work[k + LINES] = np.float32(k // TILE) + HALF
        work[k + PASSING] = ONE


def as_array(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, in one piece."""
    return tensor.detach().contiguous().numpy()


def dealt_tiles(offsets: np.ndarray) -> np.ndarray:
    """All tiles, in an order that gives each thread's share of a parallel loop full and empty ones alike."""
    falling = np.argsort(-np.diff(offsets), kind="stable").astype(np.int32)
    threads = get_num_threads()
    return np.concatenate([falling[thread::threads] for thread in range(threads)])
