"""Spherical harmonics kernels against the reference, and their derivatives against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from onefield.kernels import use
from onefield.kernels.spherical_harmonics import spherical_harmonics


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_kernel_agrees_with_reference(degree: int) -> None:
    directions = normalize(torch.randn(5000, 3), dim=-1)
    with use("reference"):
        expected = spherical_harmonics(directions, degree)
    torch.testing.assert_close(spherical_harmonics(directions, degree), expected, rtol=1e-5, atol=1e-6)


def test_gradient_of_the_kernel_is_that_of_the_reference() -> None:
    directions = normalize(torch.randn(50, 3), dim=-1).requires_grad_()
    upstream = torch.randn(50, 16)
    (fast,) = torch.autograd.grad(spherical_harmonics(directions, 4), directions, upstream)
    with use("reference"):
        (slow,) = torch.autograd.grad(spherical_harmonics(directions, 4), directions, upstream)
    torch.testing.assert_close(fast, slow)


def test_one_band_says_nothing_about_directions() -> None:
    directions = normalize(torch.randn(3, 3), dim=-1).requires_grad_()
    spherical_harmonics(directions, 1).sum().backward()
    assert torch.equal(directions.grad, torch.zeros(3, 3))


def test_derivatives_against_finite_differences() -> None:
    directions = normalize(torch.randn(4, 3, dtype=torch.float64), dim=-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: spherical_harmonics(d, 4), (directions,))
    assert torch.autograd.gradgradcheck(lambda d: spherical_harmonics(d, 4), (directions,))
