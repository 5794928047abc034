"""Sets of Gaussians in another frame: places, shapes and the harmonics of their colours."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.fields.lobes import spread_directions
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.types import Gaussians, Lobes

# Directions on which a band is fitted again after turning: more than its 7 harmonics, so that it is exact.
_DIRECTIONS = 64


def moved_gaussians(
    gaussians: Gaussians, scale: float, rotation: Float[Tensor, "3 3"], translation: Float[Tensor, "3"]
) -> Gaussians:
    """The set after ``scale * rotation @ x + translation``: cameras that move along see the same.

    Args:
        scale: above 0.
        rotation: with determinant 1.
    """
    exact = rotation.double()
    turned = _times(_quaternion(exact), gaussians.quaternions.double())
    return Gaussians(
        (scale * gaussians.means.double() @ exact.T + translation.double()).to(gaussians.means),
        gaussians.log_scales + math.log(scale),
        turned.to(gaussians.quaternions),
        gaussians.opacities,
        turned_harmonics(gaussians.harmonics, exact),
        None if gaussians.lobes is None else _turned_lobes(gaussians.lobes, exact),
    )


def _turned_lobes(lobes: Lobes, rotation: Float[Tensor, "3 3"]) -> Lobes:
    return replace(lobes, axes=(lobes.axes.double() @ rotation.T).to(lobes.axes))


def turned_harmonics(
    harmonics: tuple[Float[Tensor, "P k 3"], ...], rotation: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "P k 3"], ...]:
    """Coefficients of the colours turned by a rotation: seen along ``rotation @ d`` they are what they were along d."""
    if len(harmonics) == 1:
        return harmonics
    directions = spread_directions(_DIRECTIONS)
    new = harmonic_basis(directions, len(harmonics) - 1)
    old = harmonic_basis(directions @ rotation.double(), len(harmonics) - 1)
    turned = []
    for band, coefficients in enumerate(harmonics):
        part = slice(band * band, (band + 1) ** 2)
        matrix = torch.linalg.pinv(new[:, part]) @ old[:, part]
        turned.append(torch.einsum("kj,pjc->pkc", matrix, coefficients.double()).to(coefficients))
    return tuple(turned)


def _quaternion(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "4"]:
    """wxyz of a rotation: the eigenvector of Bar-Itzhack's (2000) symmetric matrix to its largest eigenvalue."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    matrix = rotation.new_tensor(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    return functional.normalize(torch.linalg.eigh(matrix).eigenvectors[:, -1], dim=0)


def _times(first: Float[Tensor, "4"], second: Float[Tensor, "P 4"]) -> Float[Tensor, "P 4"]:
    """Hamilton's product: the rotation of ``second``, then that of ``first``."""
    a, b = first[0], first[1:]
    c, d = second[:, :1], second[:, 1:]
    vector = a * d + c * b + torch.linalg.cross(b.expand_as(d), d)
    return torch.cat([a * c - (d @ b)[:, None], vector], dim=1)
