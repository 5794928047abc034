"""WIRE against complex arithmetic."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.wire import Wire


def by_formula(network: Wire, points):
    """Complex layers as the paper writes them, complex128."""
    x = points.double().to(torch.complex128)
    layers = list(zip(network.weights, network.biases, strict=True))
    for index, (weight, bias) in enumerate(layers):
        weight, bias = weight.detach().double(), bias.detach().double()
        matrix = torch.complex(weight[0], torch.zeros_like(weight[0]) if index == 0 else weight[1])
        shift = torch.complex(bias[0], torch.zeros_like(bias[0]) if index == 0 else bias[1])
        z = x @ matrix.T + shift
        last = index == len(layers) - 1
        x = z if last else torch.exp(1j * network.frequency * z - (network.sharpness * z).abs() ** 2)
    return x.real


def test_forward_equals_complex_arithmetic():
    network, points = Wire(3, 2, 14, 2, frequency=3.0, sharpness=2.0), torch.rand(80, 3) * 2 - 1
    torch.testing.assert_close(network(points).double(), by_formula(network, points), atol=2e-5, rtol=1e-4)


def test_second_derivatives_are_right():
    network = Wire(2, 1, 5, 1, frequency=2.0, sharpness=1.0).double()
    assert torch.autograd.gradgradcheck(network, torch.rand(2, 2, dtype=torch.float64, requires_grad=True))


def test_the_first_layer_is_real_and_all_numbers_lie_in_the_bounds_of_linear_layers():
    network = Wire(4, 1, 30, 2)
    assert [tuple(weight.shape) for weight in network.weights] == [(1, 30, 4), (2, 30, 30), (2, 30, 30), (2, 1, 30)]
    for weight, bias in zip(network.weights, network.biases, strict=True):
        bound = weight.shape[-1] ** -0.5
        assert 0.8 * bound < weight.abs().max() <= bound
        assert bias.abs().max() <= bound


def test_one_wavelet_has_frequencies_of_one_sign_only():
    """exp(i w z - (s z)^2) of real z: what makes products of wavelets stay band-pass."""
    network = Wire(1, 1, 1, 0, frequency=40.0, sharpness=6.0).double()
    with torch.no_grad():
        network.weights[0].fill_(1.0)
        network.biases[0].zero_()
        network.weights[1][0].fill_(1.0)
        network.weights[1][1].zero_()
        network.biases[1].zero_()
    places = torch.linspace(-1, 1, 512, dtype=torch.float64)[:, None]
    real = network(places)[:, 0].detach()
    with torch.no_grad():  # times -i: the imaginary part
        network.weights[1][0].zero_()
        network.weights[1][1].fill_(-1.0)
    spectrum = torch.fft.fft(torch.complex(real, network(places)[:, 0].detach())).abs().square()
    assert float(spectrum[257:].sum() / spectrum.sum()) < 1e-6


def test_refuses_what_is_not_positive():
    with pytest.raises(UsageError, match="sharpness 0"):
        Wire(2, 1, sharpness=0)
