"""Colours of Gaussians against the published polynomials, the reference, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from onefield.kernels import use
from onefield.kernels.harmonic_colors import harmonic_basis, harmonic_colors


def coefficients(count, degree, dtype=torch.float32):
    generator = torch.Generator().manual_seed(degree)
    bands = [torch.randn(count, 2 * band + 1, 3, generator=generator, dtype=dtype) for band in range(degree + 1)]
    return torch.randn(count, 3, generator=generator, dtype=dtype), bands


def test_signs_and_factors_are_those_of_the_files():
    """Constants as published with 3D Gaussian splatting, written in its own polynomials."""
    directions = functional.normalize(coefficients(9, 0)[0], dim=-1)
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    expected = [
        0.28209479177387814 + 0 * x,
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]  # fmt: skip
    torch.testing.assert_close(harmonic_basis(directions, 3), torch.stack(expected, dim=-1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_kernel_matches_the_reference(degree):
    answers = []
    for mode in ("fast", "reference"):
        directions, bands = coefficients(700, degree)
        leaves = [tensor.requires_grad_(True) for tensor in (directions, *bands)]
        with use(mode):
            colors = harmonic_colors(leaves[0], leaves[1:])
        weights = torch.linspace(-1, 1, colors.numel()).reshape(colors.shape)
        gradients = torch.autograd.grad((colors * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
        answers.append([colors, *gradients])
    assert (answers[0][0] == 0).any()
    for fast, reference in zip(*answers, strict=True):
        torch.testing.assert_close(fast, reference, atol=2e-5, rtol=1e-4)


def test_the_reference_is_differentiated_right():
    directions, bands = coefficients(5, 3, dtype=torch.float64)
    leaves = [tensor.requires_grad_(True) for tensor in (directions, *bands)]
    assert torch.autograd.gradcheck(lambda along, *harmonics: harmonic_colors(along, harmonics), leaves)
