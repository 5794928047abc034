"""Sets of Gaussians put together and cut down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.types import Bounds, Gaussians


def numbers_by_name(gaussians: Gaussians) -> dict[str, Float[Tensor, "P *k"]]:
    """What each Gaussian has but for its lobes, by the words for it."""
    named = {
        "position": gaussians.means,
        "log-scale": gaussians.log_scales,
        "quaternion": gaussians.quaternions,
        "opacity": gaussians.opacities[:, None],
    }
    return named | {f"colour of degree {band}": values for band, values in enumerate(gaussians.harmonics)}


def check_numbers(gaussians: Gaussians, where: str) -> None:
    """Refuses a set that has more of one thing than of another; kernels would read what isn't there.

    Args:
        where: begins the sentence of the error.

    Raises:
        DataError: the set is not whole.
    """
    if not 0 <= gaussians.degree <= MOST_DEGREE:
        raise DataError(
            f"{where}: harmonics of {len(gaussians.harmonics)} bands, but there must be 1 to {MOST_DEGREE + 1}."
        )
    shapes = [(3,), (3,), (4,), (1,), *((2 * band + 1, 3) for band in range(len(gaussians.harmonics)))]
    for (name, values), shape in zip(numbers_by_name(gaussians).items(), shapes, strict=True):
        if tuple(values.shape) != (len(gaussians), *shape):
            raise DataError(
                f"{where}: {len(gaussians)} Gaussians, but {values.shape[0]} times {values[:1].numel()} numbers of the "
                f"{name}, which takes {math.prod(shape)}; make it anew."
            )
    if gaussians.lobes is not None and {len(part) for part in vars(gaussians.lobes).values()} != {len(gaussians)}:
        raise DataError(f"{where}: {len(gaussians)} Gaussians, but lobes of {len(gaussians.lobes.axes)}; make it anew.")


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
