"""First weights that keep variance: gains by quadrature and by sampling, and the variance over many layers."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.finer import Finer
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.siren import Siren
from onefield.fields.networks.variance import (
    backward_ratio,
    keep_variance,
    mean_square,
    sampled_mean_square,
)

# Squared gains at a deviation of 1, by closed forms where there are any, else known to four digits.
GAINS = {
    "relu": (torch.relu, 2.0),
    "sine": (torch.sin, 2 / (1 - math.exp(-2))),
    "fast sine": (lambda z: torch.sin(30 * z), 2 / (1 - math.exp(-1800))),
    "gaussian": (lambda z: torch.exp(-0.5 * (z / 0.05) ** 2), math.sqrt(1 + 2 / 0.05**2)),
    "tanh": (torch.tanh, 2.5362),
    "sigmoid": (torch.sigmoid, 3.4086),
}


@pytest.mark.parametrize("name", GAINS)
def test_gains_are_right_by_quadrature(name):
    activation, gain = GAINS[name]
    assert 1 / mean_square(activation, 1.0) == pytest.approx(gain, rel=1e-4)


@pytest.mark.parametrize("name", GAINS)
def test_sampling_agrees_with_quadrature(name):
    activation, gain = GAINS[name]
    assert 1 / sampled_mean_square(activation, 1.0, 400_000, seed=1) == pytest.approx(gain, rel=0.02)


def test_backward_ratios():
    assert backward_ratio(torch.relu, 1.3) == pytest.approx(1.0, rel=1e-3)
    # E[cos^2] / E[sin^2], times the deviation's square
    assert backward_ratio(torch.sin, 0.5) == pytest.approx(0.25 * (1 + math.exp(-0.5)) / (1 - math.exp(-0.5)), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "deviation"),
    [
        (lambda: Siren(2, 1, 500, 50, w0=1.0), 1.0),
        (lambda: GaussianNetwork(2, 1, 500, 50, 1.0), 0.7),
        (lambda: Finer(2, 1, 500, 50, w0=1.0), 0.5),
    ],
)
def test_every_one_of_fifty_layers_has_the_deviation_that_was_asked_for(make, deviation):
    network = make()
    keep_variance(network, deviation)
    seen = torch.rand(256, 2) * 2 - 1
    found = []
    with torch.no_grad():
        for layer, factor in enumerate(network.factors):
            values = seen @ network.weights[layer].T
            found.append(float(values.square().mean().sqrt()))
            seen = network.activate(factor * values)
    # the first layer sees two inputs, hence few draws; activations of one sign make the others' mean square wander
    assert found[1:] == pytest.approx([deviation] * 50, rel=0.15)


class Activated(ActivatedNetwork):
    """Fifty layers of any activation."""

    def __init__(self, activation):
        self._activation = activation
        super().__init__(2, 1, 500, 49, 1.0)

    def activate(self, values):
        return self._activation(values)


@pytest.mark.parametrize("name", ["tanh", "gaussian"])
def test_the_variance_of_the_fiftieth_layer_is_within_a_tenth(name):
    network, points = Activated(GAINS[name][0]), torch.rand(64, 2) * 2 - 1
    keep_variance(network, 1.0)
    with torch.no_grad():
        for weight in network.weights[:-1]:
            values = points @ weight.T
            points = network.activate(values)
    assert float(values.square().mean()) == pytest.approx(1.0, rel=0.1)


def test_refuses_what_can_not_keep_variance():
    with pytest.raises(UsageError, match="above 0, got 0"):
        keep_variance(Siren(2, 1), 0)
    with pytest.raises(UsageError, match="1 sample, got 0"):
        keep_variance(Siren(2, 1), 1.0, samples=0)
