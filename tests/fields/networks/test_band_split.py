"""Low-pass and band-pass networks added: the sum, and atoms at places that are given."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.band_split import BandSplitNetwork


def test_wavelets_are_highest_at_the_places_given():
    network = BandSplitNetwork(2, 1, 7, 0).requires_grad_(False)
    places = torch.tensor([[0.3, -0.2], [-0.7, 0.9], [0.0, 0.5]])
    network.centre_on(places)
    arguments = places.repeat(3, 1)[:7] * network.band.weights[0][0]
    assert float((arguments.sum(1) + network.band.biases[0][0]).abs().max()) < 1e-6
    with pytest.raises(UsageError, match=r"shape \(0, 2\)"):
        network.centre_on(places[:0])


def test_the_answer_is_the_sum():
    network, points = BandSplitNetwork(2, 3, 6, 1), torch.rand(9, 2)
    torch.testing.assert_close(network(points), network.low(points) + network.band(points))
