"""Spherical harmonics of directions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding

MAXIMUM_DEGREE = 4


class SphericalHarmonicsEncoding(Encoding):
    """Real orthonormal spherical harmonics of unit directions, bands l = 0 ... degree - 1.

    Output ``degree^2`` numbers ordered by band and then by m = -l ... l, without the Condon-Shortley phase (band 1 is
    proportional to y, z, x); the integral of a product of two over the sphere is 1 or 0. Inputs are directions as
    they are, in [-1, 1], not moved to the unit cube.

    Args:
        degree: number of bands, 1 to 4.

    Raises:
        UsageError: another degree.
    """

    def __init__(self, degree: int = 4) -> None:
        super().__init__()
        if not 1 <= degree <= MAXIMUM_DEGREE:
            raise UsageError(f"SphericalHarmonicsEncoding has degrees 1 to {MAXIMUM_DEGREE}, got {degree}.")
        self.degree = degree
        self.input_dimension = 3
        self.output_dimension = degree**2

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """Harmonics of unit directions."""
        x, y, z = points.unbind(-1)
        columns = [_norm(1, 4) * torch.ones_like(x)]
        if self.degree > 1:
            columns += [_norm(3, 4) * axis for axis in (y, z, x)]
        if self.degree > 2:
            columns += [
                _norm(15, 4) * x * y,
                _norm(15, 4) * y * z,
                _norm(5, 16) * (3 * z * z - 1),
                _norm(15, 4) * x * z,
                _norm(15, 16) * (x * x - y * y),
            ]
        if self.degree > 3:
            columns += [
                _norm(35, 32) * y * (3 * x * x - y * y),
                _norm(105, 4) * x * y * z,
                _norm(21, 32) * y * (5 * z * z - 1),
                _norm(7, 16) * z * (5 * z * z - 3),
                _norm(21, 32) * x * (5 * z * z - 1),
                _norm(105, 16) * z * (x * x - y * y),
                _norm(35, 32) * x * (x * x - 3 * y * y),
            ]
        return torch.stack(columns, dim=-1)


def _norm(numerator: int, denominator: int) -> float:
    return math.sqrt(numerator / (denominator * math.pi))
