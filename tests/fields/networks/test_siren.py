import math

import pytest
import torch
from skimage import data

from onefield.errors import UsageError
from onefield.fields.networks import Siren


def layerwise(network: Siren, points: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Pre-activations and activations by the formula sin(w0 (W x + b)), in float64."""
    before, after = [], []
    x = points.double()
    for w0, weight, bias in zip(network.factors, network.weights, network.biases, strict=False):
        z = w0 * (x @ weight.detach().double().T + bias.detach().double())
        x = torch.sin(z)
        before.append(z)
        after.append(x)
    return before, after, x @ network.weights[-1].detach().double().T + network.biases[-1].detach().double()


def test_first_statistics_are_those_of_the_paper():
    torch.manual_seed(0)
    points = torch.rand(4096, 2) * 2 - 1
    before, after, output = layerwise(Siren(2, 1, width=256, hidden_layers=3, w0=30.0), points)
    assert before[0].std() == pytest.approx(14.2, rel=0.12)
    for z in before[1:]:
        assert z.std() == pytest.approx(2**0.5, abs=0.12)
    for a in after:
        assert a.std() == pytest.approx(0.71, abs=0.02)
    assert output.std() < 0.06


def test_forward_equals_the_formula():
    torch.manual_seed(1)
    network = Siren(3, 2, width=16, hidden_layers=2, w0=20.0, first_w0=5.0)
    points = torch.rand(64, 3) * 2 - 1
    torch.testing.assert_close(network(points).double(), layerwise(network, points)[2], atol=2e-5, rtol=1e-4)
    assert network.factors == (5.0, 20.0, 20.0)


def test_weights_lie_in_the_bounds_of_the_initialisation():
    network = Siren(4, 1, width=64, hidden_layers=2, w0=30.0)
    assert 0.24 < network.weights[0].abs().max() <= 0.25
    hidden = (6 / 64) ** 0.5 / 30
    for weight in network.weights[1:]:
        assert 0.9 * hidden < weight.abs().max() <= hidden
    assert network.biases[1].abs().max() <= 1 / 8


def test_second_derivative_is_right():
    torch.manual_seed(2)
    network = Siren(2, 1, width=8, hidden_layers=1, w0=3.0).double()
    assert torch.autograd.gradgradcheck(network, torch.rand(3, 2, dtype=torch.float64, requires_grad=True))


def test_refuses_a_frequency_that_is_not_positive():
    with pytest.raises(UsageError, match="factor 0"):
        Siren(2, 1, w0=0.0)


def test_it_learns_a_photograph_as_fast_as_the_reference():
    # the reference implementation reaches 37.5 dB after 100 full-batch steps of Adam at 1e-3, and 53.2 dB after 300
    picture = torch.tensor(data.camera().reshape(64, 8, 64, 8).mean((1, 3)) / 127.5 - 1, dtype=torch.float32)
    side = torch.linspace(-1, 1, 64)
    points = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    torch.manual_seed(0)
    network = Siren(2, 1, width=64, hidden_layers=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        error = (network(points)[:, 0] - picture.reshape(-1)).square().mean()
        error.backward()
        optimizer.step()
    assert 10 * math.log10(4 / error.item()) > 35.5
