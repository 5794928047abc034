"""Wavelets that begin where a signal changes."""

import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.training.fit_methods import SingularPlaces
from onefield.training.recipes import initial_field, recipe_for, target_of


def begun(signal, seed):
    recipe = recipe_for("band-split", signal)
    target = target_of(signal)
    field = initial_field(recipe, target, seed=0)
    before = field.network.band.biases[0][0].detach().clone()
    SingularPlaces().begin(field, signal, target, torch.Generator().manual_seed(seed))
    return field, before


def test_ridges_of_the_first_wavelets_go_through_the_edges():
    values = torch.zeros(100, 30, 2)
    values[:, 12:, 1] = 1.0
    field, _ = begun(signal_of(values.numpy(), "image"), seed=0)
    weight, bias = field.network.band.weights[0][0].detach(), field.network.band.biases[0][0].detach()
    # the middle of the edge's two columns of pixels, as the network sees them: [-1, 1] along each axis of the domain
    columns = torch.tensor([11.5, 12.5]) / 30 * 2 - 1
    rows = (torch.arange(100) + 0.5) / 100 * 2 - 1
    places = torch.cartesian_prod(columns, rows)
    distance = (places @ weight.T + bias).abs().amin(0) / weight.norm(dim=1)
    assert float(distance.max()) < 1e-5
    again, other = begun(signal_of(values.numpy(), "image"), 0)[0], begun(signal_of(values.numpy(), "image"), 1)[0]
    assert torch.equal(again.network.band.biases[0][0], bias)
    assert not torch.equal(other.network.band.biases[0][0], bias)


def test_a_constant_moves_nothing_and_other_fields_are_refused():
    flat = signal_of(torch.full((6, 5, 1), 0.3).numpy(), "image")
    field, before = begun(flat, seed=0)
    assert torch.equal(field.network.band.biases[0][0], before)
    plain = initial_field(recipe_for("siren", flat), target_of(flat), seed=0)
    with pytest.raises(UsageError, match="'singularities' moves the wavelets of 'band-split'"):
        SingularPlaces().begin(plain, flat, target_of(flat), torch.Generator())
