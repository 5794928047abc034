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


def first_atoms(places, widths, shifts):
    """What each unit of a first layer with these weights and biases answers, complex."""
    network = Wire(1, 2, len(widths), 0, frequency=40.0, sharpness=6.0).double().requires_grad_(False)
    network.weights[0].copy_(torch.tensor(widths)[None, :, None])
    network.biases[0].copy_(torch.tensor(shifts)[None])
    network.biases[1].zero_()
    found = []
    for unit in range(len(widths)):
        network.weights[1].zero_()
        # the real part, and that of -i times the number: its imaginary part
        network.weights[1][0, 0, unit], network.weights[1][1, 1, unit] = 1, -1
        found.append(torch.view_as_complex(network(places)))
    return found


def energy_below(signal, cutoff):
    """Share of a signal's energy at frequencies, in periods across the places, below a number."""
    spectrum, turns = torch.fft.fft(signal).abs().square(), torch.fft.fftfreq(len(signal), 1 / len(signal))
    return float(spectrum[turns < cutoff].sum() / spectrum.sum())


def test_products_of_wavelets_have_frequencies_of_one_sign_only():
    """exp(i w z - (s z)^2) of real z: what makes products of wavelets stay band-pass, unlike those of real ones."""
    places = torch.linspace(-1, 1, 512, dtype=torch.float64)[:, None]
    atoms = first_atoms(places, [0.8, 1.0, 1.2], [0.0, 0.1, -0.1])
    product, real = torch.ones(512, dtype=torch.complex128), torch.ones(512, dtype=torch.float64)
    for count, atom in enumerate(atoms, start=1):
        product, real = product * atom, real * atom.real
        # of 40 radians and 20 % less, six periods at least in [-1, 1]
        assert energy_below(product, 0) < 1e-3
        assert energy_below(product, 5 * count) < 1e-2
    middle = energy_below(real, 5) - energy_below(real, -5)
    assert middle > 0.02


def test_training_stays_finite_where_frequency_is_below_twice_the_sharpness():
    torch.manual_seed(0)
    network, places = Wire(1, 1, 8, 1, frequency=19.0, sharpness=10.0), torch.linspace(-1, 1, 48)[:, None]
    truth = torch.sign(torch.sin(9 * places))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, fused=True)
    for _ in range(2000):
        optimizer.zero_grad()
        error = (network(places) - truth).square().mean()
        error.backward()
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert error < 0.5


def test_refuses_what_is_not_positive():
    with pytest.raises(UsageError, match="sharpness 0"):
        Wire(2, 1, sharpness=0)
