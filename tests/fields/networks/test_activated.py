"""Networks that differ in their activation: values by their formula, first numbers, derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.finer import Finer
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.quadratic import QuadraticNetwork
from onefield.fields.networks.real_gabor import RealGaborNetwork
from onefield.fields.networks.sinc import SincNetwork

# Each network with the activation that its paper gives, of z = W x + b.
FORMULAS = {
    "finer": (lambda: Finer(3, 2, 12, 2, w0=4.0), lambda z: torch.sin(4.0 * (z.abs() + 1) * z)),
    "gaussian": (lambda: GaussianNetwork(3, 2, 12, 2, 1.5), lambda z: torch.exp(-((1.5 * z) ** 2))),
    "quadratic": (lambda: QuadraticNetwork(3, 2, 12, 2, 1.5), lambda z: 1 / (1 + (1.5 * z) ** 2)),
    "sinc": (lambda: SincNetwork(3, 2, 12, 2, 3.0), lambda z: torch.sin(3.0 * z) / (3.0 * z)),
    "real gabor": (
        lambda: RealGaborNetwork(3, 2, 12, 2, frequency=3.0, sharpness=1.5),
        lambda z: torch.cos(3.0 * z) * torch.exp(-((1.5 * z) ** 2)),
    ),
}


def by_formula(network: ActivatedNetwork, activation, points):
    x = points.double()
    for weight, bias in list(zip(network.weights, network.biases, strict=True))[:-1]:
        x = activation(x @ weight.detach().double().T + bias.detach().double())
    return x @ network.weights[-1].detach().double().T + network.biases[-1].detach().double()


@pytest.mark.parametrize("name", FORMULAS)
def test_forward_equals_the_formula(name):
    make, activation = FORMULAS[name]
    network, points = make(), torch.rand(64, 3) * 2 - 1
    torch.testing.assert_close(network(points).double(), by_formula(network, activation, points), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", FORMULAS)
def test_second_derivatives_are_right(name):
    network = FORMULAS[name][0]().double()
    assert torch.autograd.gradgradcheck(network, torch.rand(2, 3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "finer"])
def test_first_numbers_are_those_of_linear_layers(name):
    network = FORMULAS[name][0]()
    for weight, bias in zip(network.weights, network.biases, strict=True):
        bound = weight.shape[1] ** -0.5
        assert weight.abs().max() <= bound
        assert bias.abs().max() <= bound
        assert torch.cat([weight.flatten(), bias]).abs().max() > 0.8 * bound


def test_second_derivatives_of_finer_are_the_same_by_every_way_to_ask():
    network, points = Finer(2, 1, 6, 2, w0=3.0).double(), torch.rand(4, 2, dtype=torch.float64) * 2 - 1

    def answer(point):
        return network(point[None])[0, 0]

    backward = torch.func.vmap(torch.func.jacrev(torch.func.grad(answer)))(points)
    forward = torch.func.vmap(torch.func.hessian(answer))(points)
    step = torch.tensor([1e-5, 0.0], dtype=torch.float64)
    slopes = [torch.func.vmap(torch.func.grad(answer))(points + sign * step) for sign in (1, -1)]
    torch.testing.assert_close(backward[:, 0], (slopes[0] - slopes[1]) / 2e-5, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(forward, backward)


def test_published_gradient_of_finer_holds_the_growing_factor_fixed():
    network = Finer(1, 1, 1, 0, w0=2.0, published_gradient=True).double()
    x = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    weight, bias, out = (p.detach() for p in (network.weights[0], network.biases[0], network.weights[1]))
    z = (weight * 0.7 + bias).item()
    wanted = out.item() * math.cos(2 * (abs(z) + 1) * z) * 2 * (abs(z) + 1) * weight.item()
    assert slope.item() == pytest.approx(wanted, rel=1e-9)


def test_wider_first_biases_of_finer_raise_its_frequencies():
    points = torch.linspace(-1, 1, 512)[:, None]

    def crossings(first_bias):
        torch.manual_seed(3)
        values = Finer(1, 1, 64, 0, w0=10.0, first_bias=first_bias)(points)[:, 0]
        values = values - values.mean()
        return int((values[1:] * values[:-1] < 0).sum())

    assert crossings(5.0) > 1.5 * crossings(None)


def test_refuses_sizes_and_factors_that_are_not_positive():
    with pytest.raises(UsageError, match="width 0"):
        GaussianNetwork(2, 1, 0, 2, 1.0)
    with pytest.raises(UsageError, match=r"factor -1\.0"):
        QuadraticNetwork(2, 1, 8, 2, -1.0)
    with pytest.raises(UsageError, match=r"factor 0"):
        RealGaborNetwork(2, 1, frequency=0)
    with pytest.raises(UsageError, match="factor nan"):
        SincNetwork(2, 1, 8, 2, float("nan"))
    with pytest.raises(UsageError, match="-1 hidden layers"):
        Finer(2, 1, hidden_layers=-1)
