"""Numba twins of `onefield.kernels.point_mesh`: each point walks the tree of boxes on its own."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.point_mesh import FAR, LEAF

# Deeper than any tree of 32-bit addressable triangles; each level leaves at most one node waiting.
_STACK = 64
_FAST = {"reassoc", "contract", "nsz"}
# Squared sine of a corner below which a triangle is treated as its edges: products of float64 have lost all digits.
_SLIVER = 1e-12


@njit(cache=True, inline="always")
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, inline="always")
def _minus(a, b):
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


@njit(cache=True, inline="always")
def _blend(a, b, c, v, w):
    """``a + v (b - a) + w (c - a)``"""
    u = 1.0 - v - w
    return (u * a[0] + v * b[0] + w * c[0], u * a[1] + v * b[1] + w * c[1], u * a[2] + v * b[2] + w * c[2])


@njit(cache=True, inline="always")
def _share(part, whole):
    return part / whole if whole != 0.0 else 0.0


@njit(cache=True)
def _on_segment(p, a, b):
    ab = _minus(b, a)
    t = min(max(_share(_dot(_minus(p, a), ab), _dot(ab, ab)), 0.0), 1.0)
    return (a[0] + t * ab[0], a[1] + t * ab[1], a[2] + t * ab[2])


@njit(cache=True)
def _on_edges(p, a, b, c):
    best = _on_segment(p, a, b)
    gap = _minus(p, best)
    square = _dot(gap, gap)
    for start, end in ((b, c), (c, a)):
        candidate = _on_segment(p, start, end)
        gap = _minus(p, candidate)
        if _dot(gap, gap) < square:
            square = _dot(gap, gap)
            best = candidate
    return best


@njit(cache=True)
def _on_triangle(p, a, b, c):
    """Closest point by the region of the plane that the point projects to: a corner, an edge, or the face."""
    ab, ac, bc = _minus(b, a), _minus(c, a), _minus(c, b)
    sides = _dot(ab, ab) * _dot(ac, ac)
    if sides - _dot(ab, ac) ** 2 <= _SLIVER * sides:
        return _on_edges(p, a, b, c)
    ap, bp, cp = _minus(p, a), _minus(p, b), _minus(p, c)
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0.0 and d2 <= 0.0:
        return a
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0.0 and d4 <= d3:
        return b
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0.0 and d5 <= d6:
        return c
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        return _blend(a, b, c, _share(d1, d1 - d3), 0.0)
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        return _blend(a, b, c, 0.0, _share(d2, d2 - d6))
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 >= d3 and d5 >= d6:
        w = _share(_dot(bc, bp), _dot(bc, bc))
        return _blend(a, b, c, 1.0 - w, w)
    total = va + vb + vc
    return _blend(a, b, c, _share(vb, total), _share(vc, total))


@njit(cache=True, inline="always")
def _corner(triangles, row, k):
    return (float(triangles[row, k, 0]), float(triangles[row, k, 1]), float(triangles[row, k, 2]))


@njit(cache=True, inline="always")
def _box_square(boxes, node, p):
    total = 0.0
    for axis in range(3):
        beyond = max(float(boxes[node, axis]) - p[axis], p[axis] - float(boxes[node, axis + 3]), 0.0)
        total += beyond * beyond
    return total


@njit(
    "void(float32[:,::1],float32[:,:,::1],int64[::1],float32[:,::1],float32[:,::1],int64[::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _closest(points, triangles, faces, boxes, found, owners):
    first_leaf = (len(boxes) - 1) // 2
    for i in prange(len(points)):
        p = (float(points[i, 0]), float(points[i, 1]), float(points[i, 2]))
        stack = np.empty(_STACK, np.int64)
        bounds = np.empty(_STACK, np.float64)
        stack[0] = 0
        bounds[0] = 0.0
        height = 1
        best = np.inf
        place = p
        owner = -1
        while height > 0:
            height -= 1
            node = stack[height]
            if bounds[height] >= best:
                continue
            if node >= first_leaf:
                low = (node - first_leaf) * LEAF
                for row in range(low, low + LEAF):
                    if faces[row] < 0:
                        continue
                    candidate = _on_triangle(
                        p, _corner(triangles, row, 0), _corner(triangles, row, 1), _corner(triangles, row, 2)
                    )
                    gap = _minus(p, candidate)
                    square = _dot(gap, gap)
                    if square < best:
                        best = square
                        place = candidate
                        owner = faces[row]
                continue
            left = 2 * node + 1
            near, far = _box_square(boxes, left, p), _box_square(boxes, left + 1, p)
            nearer = left
            if far < near:
                near, far = far, near
                nearer = left + 1
            stack[height] = 2 * left + 1 - nearer
            bounds[height] = far
            stack[height + 1] = nearer
            bounds[height + 1] = near
            height += 2
        for axis in range(3):
            found[i, axis] = place[axis]
        owners[i] = owner


@njit(cache=True)
def _solid_angle(p, a, b, c):
    """Half the signed solid angle of a triangle (Van Oosterom and Strackee)."""
    a, b, c = _minus(a, p), _minus(b, p), _minus(c, p)
    la, lb, lc = math.sqrt(_dot(a, a)), math.sqrt(_dot(b, b)), math.sqrt(_dot(c, c))
    volume = (
        a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    return math.atan2(volume, la * lb * lc + _dot(a, b) * lc + _dot(b, c) * la + _dot(c, a) * lb)


@njit(
    "void(float32[:,::1],float32[:,:,::1],int64[::1],float32[:,::1],float32[::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _winding(points, triangles, faces, dipoles, out):
    first_leaf = (len(dipoles) - 1) // 2
    for i in prange(len(points)):
        p = (float(points[i, 0]), float(points[i, 1]), float(points[i, 2]))
        stack = np.empty(_STACK, np.int64)
        stack[0] = 0
        height = 1
        near = 0.0
        far = 0.0
        while height > 0:
            height -= 1
            node = stack[height]
            center = (float(dipoles[node, 3]), float(dipoles[node, 4]), float(dipoles[node, 5]))
            gap = _minus(center, p)
            square = _dot(gap, gap)
            reach = FAR * float(dipoles[node, 6])
            if square > reach * reach:
                normal = (float(dipoles[node, 0]), float(dipoles[node, 1]), float(dipoles[node, 2]))
                far += _dot(normal, gap) / (square * math.sqrt(square))
            elif node >= first_leaf:
                low = (node - first_leaf) * LEAF
                for row in range(low, low + LEAF):
                    if faces[row] >= 0:
                        near += _solid_angle(
                            p, _corner(triangles, row, 0), _corner(triangles, row, 1), _corner(triangles, row, 2)
                        )
            else:
                stack[height] = 2 * node + 1
                stack[height + 1] = 2 * node + 2
                height += 2
        out[i] = near / (2.0 * math.pi) + far / (4.0 * math.pi)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def closest_point(points: Tensor, triangles: Tensor, faces: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """See `onefield.kernels.point_mesh`."""
    found = torch.empty(points.shape[0], 3)
    owners = torch.empty(points.shape[0], dtype=torch.int64)
    _closest(_array(points), _array(triangles), _array(faces), _array(boxes), found.numpy(), owners.numpy())
    return found, owners


def winding_number(points: Tensor, triangles: Tensor, faces: Tensor, dipoles: Tensor) -> Tensor:
    """See `onefield.kernels.point_mesh`."""
    out = torch.empty(points.shape[0])
    _winding(_array(points), _array(triangles), _array(faces), _array(dipoles), out.numpy())
    return out
