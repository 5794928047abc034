"""Normals of a cloud, and which side of it is outside.

Axes come from the nearest points' covariance (Hoppe et al. 1992). Sides are not handed on from neighbour to neighbour,
which goes wrong at edges and thin parts, but seen from afar: a flood from the outside stops at the points, and each
point turns to where the flood came nearest. What is left wrong is outvoted by all others through the indicator of the
inside that oriented points add up to (the Poisson equation of Kazhdan et al. 2006, solved by Fourier transforms), as
in iterative Poisson reconstruction (Hou et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial import cKDTree

# Nearest points that give a normal: few on clean clouds, more where noise is as large as their spacing.
_NEIGHBOURS, _NOISY_NEIGHBOURS = 16, 64
# Median thickness over width of a neighbourhood that counts as noisy.
_NOISY = 0.25
# Times a noisy cloud is levelled: the first finds neighbourhoods askew.
_LEVELLINGS = 2
# Cells along the side of the grid on which sides are decided.
CELLS = 128
_FEWEST_CELLS = 16
# A voxel is this many spacings wide, so that a sampled surface, thickened by a voxel, stops the flood.
_VOXEL_SPACINGS = 1.5
# Blur of the flood, voxels: how far a point looks for the outside.
_LOOK = 2.0
# Where the flood leaked in through holes, few points see any inside: less of it than this in their blurred sight.
_GLIMPSE, _SEEING = 0.02, 1 / 3
# Votes end when this part of the points turns round, or after so many.
_TURNING, _MOST_VOTES = 1e-4, 12
# Given normals are believed when so many of them agree on which side is outside.
_AGREEMENT = 0.9
_CHUNK = 2**16


@dataclass(frozen=True)
class Orientation:
    """A cloud with sides.

    Attributes:
        normals: unit, outward.
        areas: of surface that each point stands for, in squared units of the points.
        flipped: given normals that pointed in were turned round.
        doubted: given normals disagreed with one another, so that their sides were decided anew.
    """

    normals: Float[np.ndarray, "N 3"]
    areas: Float[np.ndarray, "N"]
    flipped: bool = False
    doubted: bool = False


def orient(points: Float[np.ndarray, "N 3"], given: Float[np.ndarray, "N 3"] | None = None) -> Orientation:
    """Outward normals of points in the unit cube, well inside of it.

    Args:
        points: float64, at least 2.
        given: unit normals; None estimates them.
    """
    tree = cKDTree(points)
    axes, areas = normal_axes(points, tree)
    axes = axes if given is None else given
    signs = _flooded(points, axes, float(np.sqrt(np.median(areas))))
    for _ in range(_MOST_VOTES):
        inside = indicator(points, axes * signs[:, None], areas, CELLS)
        side = -(slopes(inside, points) * axes).sum(1)
        before, signs = signs, np.where(side == 0, signs, np.sign(side))
        if (signs != before).mean() <= _TURNING:
            break
    if given is None:
        return Orientation(axes * signs[:, None], areas)
    agreeing = float((signs > 0).mean())
    if agreeing >= _AGREEMENT:
        return Orientation(given, areas)
    if agreeing <= 1 - _AGREEMENT:
        return Orientation(-given, areas, flipped=True)
    return Orientation(given * signs[:, None], areas, doubted=True)


def indicator(
    points: Float[np.ndarray, "N 3"],
    normals: Float[np.ndarray, "N 3"],
    areas: Float[np.ndarray, "N"],
    cells: int,
    blur: float = 0.0,
) -> Float[np.ndarray, "R R R"]:
    """About 1 inside and 0 outside, up to a constant, at the corners ``index / cells`` of a periodic unit cube.

    Args:
        points, normals, areas: of a closed surface; normals outward.
        cells: along each side.
        blur: standard deviation, of the cube's side; at least a cell and the points' spacing are taken.
    """
    blur = max(blur * cells, 1.0, float(np.sqrt(np.median(areas))) * cells)
    waves = torch.fft.fftfreq(cells) * 2 * torch.pi
    half = torch.fft.rfftfreq(cells) * 2 * torch.pi
    axes = (waves[:, None, None], waves[None, :, None], half[None, None, :])
    divergence = torch.zeros(cells, cells, len(half), dtype=torch.complex64)
    for axis, wave in enumerate(axes):
        # a jump of 1 across the surface: its gradient is minus the normal, as dense as areas a cell
        density = _splat(points, -normals[:, axis] * areas * cells**2, cells)
        divergence += torch.fft.rfftn(torch.from_numpy(density)) * wave
    square = sum(wave.square() for wave in axes)
    smooth = torch.exp(-square * blur**2 / 2)
    square[0, 0, 0] = 1.0  # the mean is free
    return torch.fft.irfftn(divergence * (-1j * smooth / square), s=(cells,) * 3).numpy()


def _splat(points: np.ndarray, weights: np.ndarray, cells: int) -> np.ndarray:
    scaled = points * cells
    lower = np.floor(scaled).astype(np.int64)
    part = scaled - lower
    total = np.zeros(cells**3, dtype=np.float32)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(np.array(corner, dtype=bool), part, 1 - part), axis=1) * weights
        i, j, k = ((lower + corner) % cells).T
        np.add.at(total, (i * cells + j) * cells + k, share.astype(np.float32))
    return total.reshape(cells, cells, cells)


def at_points(values: Float[np.ndarray, "R R R"], points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Linear interpolation of corner values of a periodic unit cube."""
    return ndimage.map_coordinates(values, points.T * values.shape[0], order=1, mode="grid-wrap")


def slopes(values: Float[np.ndarray, "R R R"], points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Differences of `at_points` over a cell to both sides."""
    steps = np.eye(3) / values.shape[0]
    return np.stack([at_points(values, points + step) - at_points(values, points - step) for step in steps], axis=1)


def normal_axes(
    points: Float[np.ndarray, "N 3"], tree: cKDTree
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N"]]:
    """Unit normals of either sign by the nearest points' covariance, and areas for which the points stand.

    Args:
        points: float64, at least 2.
        tree: of the same points.
    """
    axes, areas, thickness = _fitted_planes(points, tree, min(_NEIGHBOURS, len(points)))
    if np.median(thickness) > _NOISY:
        axes, areas, _ = _fitted_planes(points, tree, min(_NOISY_NEIGHBOURS, len(points)))
    return axes, areas


def levelled(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Points of a noisy cloud moved along their normals to the middle of their neighbourhoods; clean ones as they are.

    Args:
        points: float64, at least 2.
    """
    _, _, thickness = _fitted_planes(points, cKDTree(points), min(_NEIGHBOURS, len(points)))
    if np.median(thickness) <= _NOISY:
        return points
    for _ in range(_LEVELLINGS):
        tree, neighbours = cKDTree(points), min(_NOISY_NEIGHBOURS, len(points))
        axes, _, _ = _fitted_planes(points, tree, neighbours)
        moved = []
        for start in range(0, len(points), _CHUNK):
            rows = slice(start, start + _CHUNK)
            _, nearest = tree.query(points[rows], k=neighbours)
            height = ((points[nearest].mean(1) - points[rows]) * axes[rows]).sum(1, keepdims=True)
            moved.append(points[rows] + height * axes[rows])
        points = np.concatenate(moved)
    return points


def _fitted_planes(points: np.ndarray, tree: cKDTree, neighbours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes, areas, thickness = [], [], []
    for start in range(0, len(points), _CHUNK):
        distance, nearest = tree.query(points[start : start + _CHUNK], k=neighbours)
        around = points[nearest]
        around = torch.from_numpy(around - around.mean(1, keepdims=True))
        variances, directions = torch.linalg.eigh(around.transpose(1, 2) @ around)
        axes.append(directions[:, :, 0].numpy())
        areas.append(np.pi * distance[:, -1] ** 2 / neighbours)
        widest = variances[:, 1].clamp(min=torch.finfo(torch.float64).tiny)
        thickness.append((variances[:, 0].clamp(min=0) / widest).sqrt().numpy())
    return np.concatenate(axes), np.concatenate(areas), np.concatenate(thickness)


def _flooded(points: np.ndarray, axes: np.ndarray, spacing: float) -> np.ndarray:
    """The sign of each axis that points to where a flood from the cube's border came nearest."""
    cells = int(np.clip(1 / (_VOXEL_SPACINGS * spacing), _FEWEST_CELLS, CELLS))
    most, best = -1.0, (np.zeros(0), cells)
    while True:
        wall = np.zeros((cells,) * 3, dtype=bool)
        wall[tuple(np.minimum((points * cells).astype(np.int64), cells - 1).T)] = True
        wall = ndimage.binary_dilation(wall)
        regions, _ = ndimage.label(~wall)
        outside = regions == regions[0, 0, 0]
        inside = ~wall & ~outside
        dry = ndimage.gaussian_filter(inside.astype(np.float32), _LOOK, mode="nearest")
        # voxels hold their centres' values
        seeing = float((at_points(dry, points - 0.5 / cells) > _GLIMPSE).mean())
        if seeing > most:
            flood = ndimage.gaussian_filter(outside.astype(np.float32), _LOOK, mode="nearest") - dry
            most, best = seeing, (flood, cells)
        # larger voxels close holes
        if seeing >= _SEEING or cells // 2 < _FEWEST_CELLS:
            break
        cells //= 2
    flood, cells = best
    towards = (slopes(flood, points - 0.5 / cells) * axes).sum(1)
    return np.where(towards < 0, -1.0, 1.0)
