"""Products of affine maps: degrees, formula, variance."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.polynomial import PolynomialNetwork


def monomials(points, degree):
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return torch.stack([points[:, 0] ** i * points[:, 1] ** j for i, j in powers], dim=1)


@pytest.mark.parametrize("levels", [1, 3, 5])
def test_without_kinks_it_is_a_polynomial_of_as_many_degrees_as_levels(levels):
    network = PolynomialNetwork(2, 1, 16, levels, slope=1.0).double()
    points = torch.rand(400, 2, dtype=torch.float64) * 2 - 1
    values = network(points).detach()
    for degree, exact in ((levels, True), (levels - 1, False)):
        basis = monomials(points, degree)
        rest = values - basis @ torch.linalg.lstsq(basis, values).solution
        assert bool(rest.norm() < 1e-9 * values.norm()) == exact


def test_it_learns_a_polynomial_of_its_degree_nearly_exactly():
    points = torch.rand(500, 2, dtype=torch.float64) * 2 - 1
    truth = monomials(points, 5) @ torch.linspace(-1, 1, 21, dtype=torch.float64)
    torch.manual_seed(1)
    network = PolynomialNetwork(2, 1, 32, 5, slope=1.0).double()
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=300, history_size=30, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        error = (network(points)[:, 0] - truth).square().mean()
        error.backward()
        return error

    optimizer.step(step)
    assert float((network(points)[:, 0] - truth).norm() / truth.norm()) < 1e-3


def test_forward_equals_the_formula():
    network, points = PolynomialNetwork(3, 2, 8, 3, slope=0.2), torch.rand(50, 3) * 2 - 1
    hidden = torch.ones(50, 8)
    for affine, layer in zip(network.affine, network.layers, strict=True):
        z = (hidden * (points @ affine.weight.T + affine.bias)) @ layer.weight.T + layer.bias
        hidden = torch.where(z > 0, z, 0.2 * z)
    torch.testing.assert_close(network(points), hidden @ network.output.weight.T + network.output.bias)


@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_mean_square_stays_near_one_over_levels(slope):
    squares = []
    for seed in range(20):
        torch.manual_seed(seed)
        network = PolynomialNetwork(2, 64, 256, 8, slope)
        with torch.no_grad():
            network.output.weight.copy_(torch.eye(256)[:64])
            network.output.bias.zero_()
        squares.append(network(torch.rand(500, 2) * 2 - 1).square().mean())
    # products have heavy tails, so that the mean over draws moves much
    assert 0.1 < float(torch.stack(squares).mean()) < 30


def test_refuses_a_slope_outside_the_unit_interval():
    with pytest.raises(UsageError, match="slope 2"):
        PolynomialNetwork(2, 1, slope=2)
