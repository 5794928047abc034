"""Which Gaussians a ray is in, slab by slab: the part that casting rays and its gradients share.

Along a ray a Gaussian is one, too: a few numbers say what it is at every sample. They and its colour are worked out
when the ray enters it, and held until the ray has left it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from onefield.kernels.cpu.exponential import LOWEST, TO_BASE_2, exp2
from onefield.kernels.gaussian_ray_casting import SLAB
from onefield.kernels.gaussian_tree import LEAF

FAST = {"contract", "nsz", "arcp", "reassoc"}
_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
FAR = np.float32(np.inf)
SPAN = np.float32(SLAB)
# Columns of the packed Gaussians: middle, three rows of whitening, amplitude, squared reach.
ROWS, AMPLITUDE, REACH, PACKED = 3, 12, 13, 16
# Columns of what is held of a Gaussian: place of its peak on the ray, factor of the exponent, peak, squared half
# length, colour, where the ray leaves it.
FACTOR, PEAK, CUT, COLOR, LEAVE, HELD = 1, 2, 3, 4, 7, 8


@njit(error_model="numpy")
def _enters(boxes, node, ray):
    """Where a ray enters a node's box, and where it leaves it."""
    enter = -FAR
    leave = FAR
    for axis in range(3):
        # the limits of what a slab is compared with; a ray within a face gives NaN, which no comparison takes up
        first = (boxes[node, axis] - ray[axis]) * ray[6 + axis]
        last = (boxes[node, axis + 3] - ray[axis]) * ray[6 + axis]
        near = first if first < last else last
        far = last if first < last else first
        enter = near if near > enter else enter
        leave = far if far < leave else leave
    return enter, leave


@njit(fastmath=FAST, error_model="numpy")
def _cross(packed, place, ray):
    """Where on a ray a Gaussian peaks, its squared distance there and the squared speed at which it falls off."""
    x = ray[0] - packed[place, 0]
    y = ray[1] - packed[place, 1]
    z = ray[2] - packed[place, 2]
    speed = _ZERO
    along = _ZERO
    for k in range(3):
        row = ROWS + 3 * k
        u = packed[place, row] * x + packed[place, row + 1] * y + packed[place, row + 2] * z
        v = packed[place, row] * ray[3] + packed[place, row + 1] * ray[4] + packed[place, row + 2] * ray[5]
        speed += v * v
        along += u * v
    peak = -along / speed
    squared = _ZERO
    for k in range(3):
        row = ROWS + 3 * k
        u = packed[place, row] * (x + peak * ray[3])
        u += packed[place, row + 1] * (y + peak * ray[4]) + packed[place, row + 2] * (z + peak * ray[5])
        squared += u * u
    return peak, squared, speed


@njit(fastmath=FAST, error_model="numpy")
def lobe_shape(sharpness, close):
    """A lobe's value in its direction; ``close`` is the cosine less 1."""
    return exp2(max(TO_BASE_2 * sharpness * min(close, _ZERO), LOWEST))


@njit(fastmath=FAST, error_model="numpy")
def _look(ray, basis, harmonics, lobes, i, row):
    """Puts the colour that a Gaussian shows a ray into what is held of it."""
    red = _ZERO
    green = _ZERO
    blue = _ZERO
    for k in range(harmonics.shape[1]):
        red += basis[k] * harmonics[i, k, 0]
        green += basis[k] * harmonics[i, k, 1]
        blue += basis[k] * harmonics[i, k, 2]
    for j in range(lobes.shape[1]):
        close = ray[3] * lobes[i, j, 0] + ray[4] * lobes[i, j, 1] + ray[5] * lobes[i, j, 2] - _ONE
        shape = lobe_shape(lobes[i, j, 3], close)
        red += shape * lobes[i, j, 4]
        green += shape * lobes[i, j, 5]
        blue += shape * lobes[i, j, 6]
    row[COLOR] = red
    row[COLOR + 1] = green
    row[COLOR + 2] = blue


@njit(error_model="numpy")
def enter_slab(ray, basis, begin, end, tree, gaussians, held, names, count, slot):
    """Adds the Gaussians that a ray enters within a slab; also the next place behind it where there may be one."""
    order, boxes = tree
    packed, harmonics, lobes = gaussians
    leaves = boxes.shape[0] // 2
    first = count == 0
    upcoming = FAR
    node = 1
    while True:
        enter, leave = _enters(boxes, node, ray)
        inside = enter <= leave and leave > begin
        if inside and enter >= end:
            upcoming = min(upcoming, enter)
            inside = False
        if inside and node < leaves:
            node *= 2
            continue
        if inside:
            start = (node - leaves) * LEAF
            for place in range(start, min(start + LEAF, order.shape[0])):
                peak, squared, speed = _cross(packed, place, ray)
                left = packed[place, REACH] - squared
                # written so that what is not a number is left out
                if not (left > _ZERO and speed > _ZERO):
                    continue
                half = math.sqrt(left / speed)
                if peak - half >= end:
                    upcoming = min(upcoming, peak - half)
                    continue
                if peak + half <= begin or (peak - half < begin and not first):
                    continue
                if count == held.shape[0]:
                    more = np.empty((2 * count, HELD), np.float32)
                    more[:count] = held
                    held = more
                    others = np.empty((2 * count, 2), np.int64)
                    others[:count] = names
                    names = others
                held[count, 0] = peak
                held[count, FACTOR] = _HALF * TO_BASE_2 * speed
                held[count, PEAK] = packed[place, AMPLITUDE] * math.exp(-_HALF * squared)
                held[count, CUT] = left / speed
                held[count, LEAVE] = peak + half
                _look(ray, basis, harmonics, lobes, order[place], held[count])
                names[count, 0] = order[place]
                names[count, 1] = slot
                slot += 1
                count += 1
        # on to the next subtree: up while this is a right child, then to the right
        node += 1
        while node & 1 == 0:
            node >>= 1
        if node == 1:
            return held, names, count, slot, upcoming


@njit(error_model="numpy")
def leave_slab(begin, held, names, count):
    """Lets go of the Gaussians that a ray has left."""
    kept = 0
    for i in range(count):
        if held[i, LEAVE] > begin:
            if kept < i:
                for column in range(HELD):
                    held[kept, column] = held[i, column]
                names[kept, 0] = names[i, 0]
                names[kept, 1] = names[i, 1]
            kept += 1
    return kept


@njit(error_model="numpy")
def start_ray(ray, origins, directions, r):
    """Puts origin, direction and inverse direction of ray r into nine numbers."""
    for axis in range(3):
        ray[axis] = origins[r, axis]
        ray[3 + axis] = directions[r, axis]
        ray[6 + axis] = _ONE / directions[r, axis]


@njit(error_model="numpy")
def skip_to(begin, upcoming, step, cone):
    """The first slab that ends behind a place."""
    begin += SPAN * max(step, cone * begin)
    while begin + SPAN * max(step, cone * begin) <= upcoming:
        begin += SPAN * max(step, cone * begin)
    return begin
