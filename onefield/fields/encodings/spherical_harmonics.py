"""Spherical harmonics of directions."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.kernels.spherical_harmonics import spherical_harmonics

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
        return spherical_harmonics(points, self.degree)
