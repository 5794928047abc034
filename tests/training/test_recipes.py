"""Recipes for a number of parameters."""

from __future__ import annotations

import pytest
import torch

from onefield.data.points import Points
from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.recipes import FIELD_NAMES, build_field, recipe_for, target_of
from onefield.types import PointCloud


def counted(recipe, signal):
    with torch.device("meta"):
        field = build_field(recipe.field, recipe.options, target_of(signal))
    return sum(p.numel() for p in field.parameters())


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_field_uses_the_parameters_that_it_is_allowed_and_no_more(name):
    signal = signal_of(torch.rand(32, 32, 32), "volume") if name == "vm" else signal_of(torch.rand(64, 48), "image")
    # numbers of a vector that generates a network, whose matrix is large
    allowed = 500 if name == "projected" else 20_000
    size = counted(recipe_for(name, signal, parameters=allowed), signal)
    assert 0.8 * allowed < size <= allowed
    with pytest.raises(UsageError, match=r"needs \d+ parameters or more for this (image|volume), got 0;"):
        recipe_for(name, signal, parameters=0)


def test_narrow_networks_learn_faster_and_grids_as_ever():
    signal = signal_of(torch.rand(64, 48), "image")
    own, sized = recipe_for("siren", signal), recipe_for("siren", signal, parameters=3000)
    ratio = own.options["width"] / sized.options["width"]
    assert ratio > 5
    assert sized.network_rate == pytest.approx(ratio**0.75 * own.network_rate)
    hashed = recipe_for("hash", signal, parameters=9000)
    assert (hashed.network_rate, hashed.encoding_rate) == (5e-3, 1e-2)


def test_a_recipe_is_fitted_as_it_is():
    signal = signal_of(torch.rand(24, 20), "image")
    recipe = recipe_for("siren", signal, parameters=3000)
    fitted = fit(signal, recipe, steps=3)
    assert fitted.recipe == recipe
    assert fitted.metrics["parameters"] == counted(recipe, signal) < 3000
    assert fit(signal, "siren", steps=3, parameters=3000).recipe == recipe
    with pytest.raises(UsageError, match="can't size a Recipe of one's own"):
        fit(signal, recipe, parameters=3000)


def test_the_grid_of_a_cloud_has_the_size_of_its_points():
    with pytest.raises(UsageError, match="size that its points ask for"):
        recipe_for("auto", Points.of(PointCloud(torch.rand(50, 3))), parameters=1000)
