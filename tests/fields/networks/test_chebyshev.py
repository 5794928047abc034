"""SL2A's network against Chebyshev polynomials by their closed form."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.chebyshev import ChebyshevNetwork


def by_formula(network: ChebyshevNetwork, points):
    """T_k(x) = cos(k arccos x), and one low-rank layer after the other, float64."""
    x = torch.tanh(points.double())
    degrees = torch.arange(network.coefficients.shape[2], dtype=torch.float64)
    powers = torch.cos(degrees * torch.arccos(x)[..., None])
    psi = torch.einsum("nik,iok->no", powers, network.coefficients.detach().double())
    psi = (psi - psi.mean(1, keepdim=True)) / (psi.var(1, correction=0, keepdim=True) + network.norm.eps).sqrt()
    hidden = psi * psi
    for layer, bias in enumerate(network.biases):
        down, up = (network.factors[2 * layer + part].detach().double() for part in (0, 1))
        hidden = psi * torch.relu(hidden @ (up @ down).T + bias.detach().double())
    return hidden @ network.output.weight.detach().double().T + network.output.bias.detach().double()


def test_forward_equals_the_formula():
    network, points = ChebyshevNetwork(3, 2, 20, 2, degree=12, rank=5), torch.rand(60, 3) * 2 - 1
    torch.testing.assert_close(network(points).double(), by_formula(network, points), atol=5e-5, rtol=1e-4)


def test_derivatives_hold_where_the_closed_form_has_infinite_slope():
    network = ChebyshevNetwork(1, 1, 6, 1, degree=6, rank=3).double()
    points = torch.tensor([[-9.0], [0.0], [0.3], [9.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, points)


def test_matrices_have_the_rank_that_was_asked_for():
    network = ChebyshevNetwork(2, 1, 32, 3, degree=8, rank=4)
    products = [network.factors[2 * layer + 1] @ network.factors[2 * layer] for layer in range(3)]
    assert [int(torch.linalg.matrix_rank(each)) for each in products] == [4, 4, 4]


def test_refuses_a_rank_above_the_width():
    with pytest.raises(UsageError, match="rank 33"):
        ChebyshevNetwork(2, 1, 32, rank=33)
