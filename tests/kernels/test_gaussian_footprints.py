"""Footprints of Gaussians against the textbook product of matrices, the reference, and finite differences."""

from __future__ import annotations

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_footprints import LEAST_COMPENSATION, gaussian_footprints, rotations


def gaussians(count, dtype=torch.float32):
    generator = torch.Generator().manual_seed(count)
    shapes = ((count, 2, 3), (count, 3), (count, 4))
    jacobians, scales, quaternions = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes)
    return jacobians * 20, scales - 2, quaternions


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_conic_is_the_inverse_of_the_projected_covariance(mode):
    jacobians, scales, quaternions = gaussians(200)
    with use(mode):
        conics, compensation, variances = gaussian_footprints(jacobians, scales, quaternions, 0.3)
    axes, spread = rotations(quaternions.double()), torch.diag_embed((2 * scales.double()).exp())
    sharp = jacobians.double() @ axes @ spread @ axes.mT @ jacobians.double().mT
    wide = sharp + 0.3 * torch.eye(2)
    inverse = torch.linalg.inv(wide)
    expected = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
    torch.testing.assert_close(conics.double(), expected, atol=1e-5, rtol=1e-3)
    ratio = (torch.linalg.det(sharp) / torch.linalg.det(wide)).sqrt()
    torch.testing.assert_close(compensation.double(), ratio, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(variances.double(), torch.diagonal(wide, dim1=1, dim2=2), atol=1e-4, rtol=1e-4)


def test_a_needle_keeps_its_digits():
    """Its determinant is a difference of numbers that agree to six digits, which float32 could not take."""
    jacobians = torch.tensor([[[1000.0, 0.0, 0.0], [0.0, 1000.0, 0.0]]])
    scales = torch.tensor([[1.0, 1e-6, 1e-6]]).log()
    eighth = torch.tensor([[0.92387953, 0.0, 0.0, 0.38268343]])  # 45 degrees about z
    conics, compensation, _ = gaussian_footprints(jacobians, scales, eighth, 0.3)
    # along the needle 1 / (10^6 + 0.3), across it 1 / 0.3
    across = torch.tensor([[1.0, -1.0]]) / 2**0.5
    form = torch.tensor([[conics[0, 0], conics[0, 1]], [conics[0, 1], conics[0, 2]]])
    assert float(across @ form @ across.T) == pytest.approx(1 / 0.3, rel=1e-4)
    assert float(compensation) == pytest.approx(LEAST_COMPENSATION)


def test_the_reference_is_differentiated_right():
    leaves = [tensor.requires_grad_(True) for tensor in gaussians(5, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *given: gaussian_footprints(*given, 0.3)[:2], leaves)


@pytest.mark.parametrize(("low_pass", "least"), [(0.3, LEAST_COMPENSATION), (0.1, 0.0), (0.3, 0.5)])
def test_kernel_gradients_match_the_reference(low_pass, least):
    answers = []
    for mode in ("fast", "reference"):
        leaves = [tensor.requires_grad_(True) for tensor in gaussians(600)]
        with use(mode):
            conics, compensation, variances = gaussian_footprints(*leaves, low_pass, least)
        weights = torch.linspace(-1, 1, 600)
        slopes = torch.autograd.grad((conics.sum(1) * weights).sum() + (compensation * weights).sum(), leaves)
        answers.append([conics, compensation, variances, *slopes])
    for fast, reference in zip(*answers, strict=True):
        scale = float(reference.detach().abs().max())
        torch.testing.assert_close(fast, reference, atol=2e-5 * scale, rtol=1e-3)
