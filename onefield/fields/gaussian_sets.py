"""Sets of Gaussians put together and cut down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from onefield.errors import UsageError
from onefield.types import Bounds, Gaussians


def merged_gaussians(sets: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of several sets, in their order.

    Raises:
        UsageError: no sets, their harmonics differ in degree (see `with_degree`), or one has lobes (`without_lobes`).
    """
    degrees = sorted({one.degree for one in sets})
    if len(degrees) != 1:
        raise UsageError(f"Sets to be merged need harmonics of one degree, got {degrees or 'no sets'}.")
    if any(one.lobes is not None for one in sets):
        raise UsageError("Sets to be merged have harmonics alone; bring lobes into them first (without_lobes).")
    return Gaussians(
        torch.cat([one.means for one in sets]),
        torch.cat([one.log_scales for one in sets]),
        torch.cat([one.quaternions for one in sets]),
        torch.cat([one.opacities for one in sets]),
        tuple(torch.cat(bands) for bands in zip(*(one.harmonics for one in sets), strict=True)),
    )


def with_degree(gaussians: Gaussians, degree: int) -> Gaussians:
    """The set with its higher harmonics dropped, or with zeros for those that it lacks."""
    bands = list(gaussians.harmonics[: degree + 1])
    bands += [gaussians.means.new_zeros(len(gaussians), 2 * band + 1, 3) for band in range(len(bands), degree + 1)]
    return replace(gaussians, harmonics=tuple(bands))


def cropped_gaussians(gaussians: Gaussians, bounds: Bounds) -> Gaussians:
    """Those whose middles lie in a box."""
    return gaussians[bounds.contains(gaussians.means.detach())]


def opaque_gaussians(gaussians: Gaussians, least: float) -> Gaussians:
    """Those whose opacity, 0 to 1, is at least so much."""
    return gaussians[torch.sigmoid(gaussians.opacities.detach()) >= least]
