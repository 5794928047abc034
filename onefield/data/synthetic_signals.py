"""Signals whose detail is set by one number, in closed form, for comparing representations.

Every signal fills a grid of ``side`` samples along each of 1, 2 or 3 axes, with one channel of values in [0, 1] and a
value range of 1. The **band** is a number from 0 to 1 that sets the cutoff: ``(side / 2) ** band`` periods across the
domain, from 1 at band 0 to all that the samples can hold at band 1. Where a signal is made of parts, these are half a
period of the cutoff wide. Stars and phantoms hold all bands at once and know none.

The selection is that of Kim and Fridovich-Keil, "Grids Often Outperform Implicit Neural Representations at Compressing
Dense Signals" (arXiv 2506.11139), section 4, with cells of Voronoi and solids besides. There the cutoffs are a table
for one size, and noise keeps the variance that is left after filtering.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from onefield.data.signals import Signal
from onefield.errors import UsageError, nearest_name

KINDS = ("audio", "image", "volume")
# Deviation of noise about its middle: four fit into [0, 1].
_NOISE_DEVIATION = 0.125
# Part of the domain that balls fill.
_BALLS_SHARE = 0.1
_BALL_TRIES = 10_000
# Volume of the unit ball of 1, 2 and 3 dimensions.
_UNIT_BALL = (2.0, math.pi, 4 * math.pi / 3)
# Added value, half axes a and b, centre x and y, turn in degrees of each ellipse on [-1, 1]: Shepp and Logan 1974 with
# the contrast of Toft 1996 (table B.3), which leaves the parts visible.
_ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.8740, 0.0, -0.0184, 0.0),
    (-0.2, 0.1100, 0.3100, 0.22, 0.0, -18.0),
    (-0.2, 0.1600, 0.4100, -0.22, 0.0, 18.0),
    (0.1, 0.2100, 0.2500, 0.0, 0.35, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, 0.1, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, -0.1, 0.0),
    (0.1, 0.0460, 0.0230, -0.08, -0.605, 0.0),
    (0.1, 0.0230, 0.0230, 0.0, -0.606, 0.0),
    (0.1, 0.0230, 0.0460, 0.06, -0.605, 0.0),
)
# Radii of the torus from its middle to the tube's and of the tube, in parts of the domain's side.
TORUS_RADII = (0.28, 0.11)


def cutoff(side: int, band: float) -> float:
    """Periods across the domain up to which a signal of this band has detail.

    Raises:
        UsageError: a band outside [0, 1], or fewer than four samples.
    """
    if not 0 <= band <= 1:
        raise UsageError(f"A band lies between 0 and 1, got {band}.")
    if side < 4:
        raise UsageError(f"A synthetic signal needs at least 4 samples along an axis, got {side}.")
    return (side / 2) ** band


def band_limited_noise(side: int, axes: int, band: float, seed: int = 0) -> Signal:
    """Uniform noise without any frequency above the cutoff, of mean 0.5 and deviation 1/8 unless nothing is left.

    The filter is a ball in frequency: all its integer frequencies have a length of at most the cutoff.
    """
    limit = cutoff(side, band)
    noise = np.random.default_rng(seed).uniform(size=(side,) * axes)
    frequencies = np.fft.fftfreq(side, 1 / side)
    square = sum(part**2 for part in np.meshgrid(*[frequencies] * axes, indexing="ij"))
    kept = np.fft.ifftn(np.where(square <= limit**2, np.fft.fftn(noise), 0)).real
    kept -= kept.mean()
    return _signal(0.5 + kept * (_NOISE_DEVIATION / kept.std()))


def balls(side: int, axes: int, band: float, seed: int = 0) -> Signal:
    """Ones in equal balls at random that don't overlap, a tenth of the domain together, zeros elsewhere.

    A ball's radius is a quarter of the cutoff's period.

    Raises:
        UsageError: no room was found for the balls.
    """
    radius = 1 / (4 * cutoff(side, band))
    count = max(1, round(_BALLS_SHARE / (_UNIT_BALL[axes - 1] * radius**axes)))
    generator = np.random.default_rng(seed)
    centers = np.empty((0, axes))
    for _ in range(_BALL_TRIES):
        drawn = generator.uniform(radius, 1 - radius, (count, axes))
        for center in drawn:
            if len(centers) < count and (((centers - center) ** 2).sum(-1) >= 4 * radius**2).all():
                centers = np.concatenate([centers, center[None]])
        if len(centers) == count:
            distance, _ = cKDTree(centers).query(_places(side, axes))
            return _signal((distance <= radius).astype(float).reshape((side,) * axes))
    raise UsageError(f"{count} balls of radius {radius:.3g} found no room; take another seed.")


def cells(side: int, axes: int, band: float, seed: int = 0) -> Signal:
    """Cells of Voronoi about random places, each with a random value; twice the cutoff of them along an axis."""
    count = max(2, round((2 * cutoff(side, band)) ** axes))
    generator = np.random.default_rng(seed)
    centers, values = generator.uniform(size=(count, axes)), generator.uniform(size=count)
    _, nearest = cKDTree(centers).query(_places(side, axes))
    return _signal(values[nearest].reshape((side,) * axes))


def sierpinski(side: int, depth: int) -> Signal:
    """Sierpinski's triangle with its base along the lower edge of the picture, ones on ``0.5 * 0.75 ** depth`` of it.

    Raises:
        UsageError: a negative depth.
    """
    if depth < 0:
        raise UsageError(f"Sierpinski's triangle has a depth of 0 or more, got {depth}.")
    x, y = _places(side, 2).T
    # barycentric coordinates in the triangle with corners at the middle of the upper edge and at the lower edge's ends
    weights = np.stack([1 - y, x - (1 - y) / 2, 1 - x - (1 - y) / 2])
    filled = (weights >= 0).all(0)
    for _ in range(depth):
        corner = weights.argmax(0)
        filled &= weights.max(0) >= 0.5
        weights = 2 * weights
        weights[corner, np.arange(weights.shape[1])] -= 1
    return _signal(filled.astype(float).reshape(side, side))


def star(side: int, wedges: int = 40) -> Signal:
    """Siemens' star: wedges of ones between equal ones of zeros in the disc that fills the picture, zeros outside.

    Raises:
        UsageError: no wedge.
    """
    if wedges < 1:
        raise UsageError(f"A star has at least one wedge, got {wedges}.")
    x, y = (_places(side, 2) - 0.5).T
    turn = np.arctan2(y, x) / (2 * math.pi) % 1.0
    lit = (np.floor(turn * 2 * wedges) % 2 == 0) & (x**2 + y**2 <= 0.25)
    return _signal(lit.astype(float).reshape(side, side))


def phantom(side: int) -> Signal:
    """A head in section for tomography, ten ellipses whose values add up."""
    x, y = (2 * _places(side, 2) - 1).T
    y = -y  # the published frame has y up
    values = np.zeros_like(x)
    for added, a, b, center_x, center_y, degrees in _ELLIPSES:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        u = (x - center_x) * cosine + (y - center_y) * sine
        v = (y - center_y) * cosine - (x - center_x) * sine
        values[(u / a) ** 2 + (v / b) ** 2 <= 1] += added
    # the sums cancel to tiny negative numbers
    return _signal(values.clip(0, 1).reshape(side, side))


def torus_distance(side: int) -> Signal:
    """Signed distance to a torus about the third axis, in parts of the domain's side plus one half."""
    return _signal(0.5 + _torus(side))


def torus(side: int) -> Signal:
    """Ones inside that torus, zeros outside."""
    return _signal((_torus(side) <= 0).astype(float))


def _torus(side: int) -> np.ndarray:
    x, y, z = (_places(side, 3) - 0.5).T
    ring, tube = TORUS_RADII
    return (np.hypot(np.hypot(x, y) - ring, z) - tube).reshape((side,) * 3)


def _places(side: int, axes: int) -> np.ndarray:
    """Centres of all cells in the order of the array, x first: ``n axes``."""
    line = (np.arange(side) + 0.5) / side
    grids = np.meshgrid(*[line] * axes, indexing="ij")
    return np.stack([grid.ravel() for grid in reversed(grids)], axis=-1)


def _signal(values: np.ndarray) -> Signal:
    return Signal(KINDS[values.ndim - 1], torch.from_numpy(values.astype(np.float32))[..., None], 1.0)


@dataclass(frozen=True)
class SyntheticSignal:
    """A family of signals.

    Attributes:
        axes: of its grid.
        make: the one of a side, band and seed.
        banded: whether the band makes a difference.
    """

    axes: int
    make: Callable[[int, float, int], Signal]
    banded: bool


def _over_axes(
    name: str, make: Callable[[int, int, float, int], Signal], axes: tuple[int, ...]
) -> dict[str, SyntheticSignal]:
    """One for each number of axes; pictures bear the plain name."""

    def of(count: int) -> Callable[[int, float, int], Signal]:
        return lambda side, band, seed: make(side, count, band, seed)

    return {name if count == 2 else f"{name}-{count}d": SyntheticSignal(count, of(count), True) for count in axes}


# Triangles of the last depth are half a period of the cutoff wide.
_SIERPINSKI = SyntheticSignal(
    2, lambda side, band, seed: sierpinski(side, round(math.log2(2 * cutoff(side, band)))), True
)
SYNTHETIC_SIGNALS: dict[str, SyntheticSignal] = {
    **_over_axes("noise", band_limited_noise, (1, 2, 3)),
    **_over_axes("balls", balls, (2, 3)),
    **_over_axes("cells", cells, (1, 2, 3)),
    "sierpinski": _SIERPINSKI,
    "star": SyntheticSignal(2, lambda side, band, seed: star(side), False),
    "phantom": SyntheticSignal(2, lambda side, band, seed: phantom(side), False),
    "torus": SyntheticSignal(3, lambda side, band, seed: torus(side), False),
    "torus-distance": SyntheticSignal(3, lambda side, band, seed: torus_distance(side), False),
}


def synthetic_signal(name: str, side: int, band: float = 0.5, seed: int = 0) -> Signal:
    """A signal of `SYNTHETIC_SIGNALS` by its name.

    Raises:
        UsageError: an unknown name, a band outside [0, 1], or too few samples.
    """
    if name not in SYNTHETIC_SIGNALS:
        raise UsageError(f"Unknown signal '{name}': {nearest_name(name, tuple(SYNTHETIC_SIGNALS))}.")
    cutoff(side, band)
    return SYNTHETIC_SIGNALS[name].make(side, band, seed)
