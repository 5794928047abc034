"""Spherical harmonics: orthonormal by quadrature, eigenfunctions of rotation, refused degrees."""

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from onefield.errors import UsageError
from onefield.fields.encodings import SphericalHarmonicsEncoding


def directions_of(polar, azimuth):
    sine = np.sin(polar)
    return torch.tensor(np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), np.cos(polar)], -1))


def test_orthonormal_by_exact_quadrature():
    """Gauss-Legendre in z times equal steps of azimuth integrates products up to degree 6 exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    azimuth = np.arange(16) * 2 * math.pi / 16
    polar, around = np.meshgrid(np.arccos(nodes), azimuth, indexing="ij")
    harmonics = SphericalHarmonicsEncoding()(directions_of(polar.ravel(), around.ravel()))
    measure = torch.tensor(np.repeat(weights * 2 * math.pi / 16, 16))
    gram = harmonics.T @ (harmonics * measure[:, None])
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64))


def test_matches_scipy_up_to_the_phase_convention():
    generator = np.random.default_rng(0)
    polar, azimuth = generator.uniform(0, math.pi, 50), generator.uniform(0, 2 * math.pi, 50)
    harmonics = SphericalHarmonicsEncoding()(directions_of(polar, azimuth)).numpy()
    for band in range(4):
        for m in range(-band, band + 1):
            complex_value = sph_harm_y(band, abs(m), polar, azimuth)
            sign = (-1) ** m
            if m < 0:
                expected = sign * math.sqrt(2) * complex_value.imag
            elif m > 0:
                expected = sign * math.sqrt(2) * complex_value.real
            else:
                expected = complex_value.real
            np.testing.assert_allclose(harmonics[:, band * band + band + m], expected, atol=1e-12)


def test_degrees():
    directions = torch.nn.functional.normalize(torch.randn(5, 3), dim=-1)
    full = SphericalHarmonicsEncoding(4)(directions)
    for degree in (1, 2, 3):
        encoding = SphericalHarmonicsEncoding(degree)
        torch.testing.assert_close(encoding(directions), full[:, : encoding.output_dimension])
    with pytest.raises(UsageError, match="5"):
        SphericalHarmonicsEncoding(5)
