"""Spherical Gaussians as colours, and their nearest likeness in spherical harmonics.

A lobe ``k exp(s (d . p - 1))`` is round about its axis p, so that its part in the harmonics of band l is those
harmonics at p times one number, ``2 pi`` times the integral of ``exp(s (t - 1)) P_l(t)`` (the theorem of Funk and
Hecke). These integrals are Bessel functions and follow from one another.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.kernels.harmonic_colors import MOST_DEGREE, harmonic_basis
from onefield.types import Gaussians, Lobes

# A lobe of this sharpness falls to half of its peak at 34 degrees from its axis.
FIRST_SHARPNESS = 4.0
# Broader lobes are as good as even; below, the integrals would be differences of numbers that hardly differ.
_BROADEST = 0.05


def spread_directions(count: int) -> Float[Tensor, "n 3"]:
    """Unit vectors all around, evenly spread over the sphere along a spiral (Vogel's golden angle), float64."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * index / max(count, 1)
    angle = math.pi * (3 - math.sqrt(5)) * index
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)


def first_lobes(count: int, lobes: int) -> Lobes:
    """Black lobes with axes all around, the same for each of ``count`` Gaussians."""
    return Lobes(
        spread_directions(lobes).float().expand(count, lobes, 3),
        torch.full((count, lobes), math.log(FIRST_SHARPNESS)),
        torch.zeros(count, lobes, 3),
    )


def band_factors(sharpness: Float[Tensor, "*b"]) -> Float[Tensor, "*b l"]:
    """How much of a lobe is in each band of harmonics, 0 to 3: the integrals of Funk and Hecke."""
    s = sharpness.clamp(min=_BROADEST)
    even, odd = -torch.expm1(-2 * s), 1 + torch.exp(-2 * s)
    factors = [even / s, odd / s - even / s.square()]
    for band in range(1, MOST_DEGREE):
        factors.append(factors[-2] - (2 * band + 1) / s * factors[-1])
    return 2 * math.pi * torch.stack(factors, dim=-1)


def without_lobes(gaussians: Gaussians) -> Gaussians:
    """The set with its lobes in harmonics of degree 3, in which sharp highlights become soft; itself where it has none.

    It is the nearest that harmonics come, by the mean square over all directions.
    """
    if gaussians.lobes is None:
        return gaussians
    lobes = gaussians.lobes
    axes = functional.normalize(lobes.axes.double(), dim=-1)
    factors = band_factors(lobes.log_sharpness.double().exp())
    basis = harmonic_basis(axes.flatten(0, 1), MOST_DEGREE).unflatten(0, axes.shape[:2])
    bands = []
    for band in range(MOST_DEGREE + 1):
        own = basis[:, :, band * band : (band + 1) ** 2] * factors[:, :, band, None]
        added = torch.einsum("pjk,pjc->pkc", own, lobes.colors.double()).to(lobes.colors)
        bands.append(gaussians.harmonics[band] + added if band <= gaussians.degree else added)
    return replace(gaussians, harmonics=tuple(bands), lobes=None)
