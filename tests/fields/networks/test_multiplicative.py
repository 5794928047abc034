"""Multiplicative filter networks and BACON: formula, spectra, first numbers."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.bacon import Bacon
from onefield.fields.networks.multiplicative import FourierFilterNetwork, GaborFilterNetwork


def product(network, filters):
    hidden = filters[0]
    for layer, each in zip(network.layers, filters[1:], strict=True):
        hidden = each * (hidden @ layer.weight.T + layer.bias)
    return hidden @ network.output.weight.T + network.output.bias


def sines(network, points):
    rows = zip(network.frequencies, network.phases, strict=True)
    return [torch.sin(points @ frequency.T + phase) for frequency, phase in rows]


def test_fourier_filters_multiply_as_the_formula_says():
    network, points = FourierFilterNetwork(3, 2, 12, 2, frequency=5.0), torch.rand(40, 3) * 2 - 1
    torch.testing.assert_close(network(points), product(network, sines(network, points)), atol=1e-5, rtol=1e-4)


def test_gabor_filters_multiply_as_the_formula_says():
    network, points = GaborFilterNetwork(3, 2, 12, 2, frequency=5.0), torch.rand(40, 3) * 2 - 1
    filters = []
    for index, wave in enumerate(sines(network, points)):
        squared = (points[:, None] - network.centers[index]).square().sum(-1)
        filters.append(torch.exp(-network.sharpnesses[index] / 2 * squared) * wave)
    torch.testing.assert_close(network(points), product(network, filters), atol=1e-5, rtol=1e-4)


def test_frequencies_of_all_filters_together_have_the_spread_that_was_asked_for():
    network = FourierFilterNetwork(2, 1, 4000, 3, frequency=50.0)
    assert float(network.frequencies.detach().sum(0).std()) == pytest.approx(50.0, rel=0.05)


def test_narrow_envelopes_hold_fast_sines():
    network = GaborFilterNetwork(2, 1, 4000, 3, frequency=50.0, sharpness=6.0)
    assert float(network.sharpnesses.detach().mean()) == pytest.approx(1.5, rel=0.05)
    normed = network.frequencies.detach() / network.sharpnesses.detach().sqrt()[..., None]
    assert float(normed.std()) == pytest.approx(25.0, rel=0.05)


@pytest.mark.parametrize("dimension", [1, 2])
def test_bacon_holds_no_energy_beyond_its_bands(dimension):
    network = Bacon(dimension, 1, 16, 3, band=24).double()
    samples = 64  # across one period of the whole range, both ends being the same place
    axis = torch.arange(samples, dtype=torch.float64) / samples * 2 - 1
    points = torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    turns = torch.fft.fftfreq(samples, 1 / samples).abs()
    assert network.bands[-1] <= 24
    for scale, band in zip(network.scales(points), network.bands, strict=True):
        energy = torch.fft.fftn(scale[:, 0].detach().reshape([samples] * dimension)).abs().square()
        beyond = torch.stack(torch.meshgrid(*[turns] * dimension, indexing="ij")).amax(0) > band
        assert float(energy[beyond].sum() / energy.sum()) < 1e-8
        assert float(energy[~beyond].sum()) > 0
    torch.testing.assert_close(network(points), network.scales(points)[-1])


def test_frequencies_of_bacon_are_not_learned_but_saved():
    network = Bacon(2, 1, 8, 2, band=16)
    assert "frequencies" not in dict(network.named_parameters())
    assert "frequencies" in network.state_dict()


def test_refuses_a_band_too_narrow_for_its_filters():
    with pytest.raises(UsageError, match="at least 8 periods, got 4"):
        Bacon(2, 1, 8, 4, band=4)
    with pytest.raises(UsageError, match="frequency above 0"):
        FourierFilterNetwork(2, 1, frequency=0)
