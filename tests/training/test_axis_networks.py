"""Factorisations with networks of one's choice on their axes."""

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.fields.networks import BACKBONES
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.siren import Siren
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.recipes import band_option, build_field, initial_field, recipe_for, target_of


def picture():
    down, across = np.meshgrid(np.linspace(0, 3, 12), np.linspace(0, 5, 16), indexing="ij")
    return signal_of(np.sin(across).astype(np.float32) * np.cos(down).astype(np.float32), "image")


def test_each_coordinate_has_its_network_and_files_open_again(tmp_path):
    fitted = fit(picture(), "functional-cp:siren+gaussian", steps=60)
    assert [type(axis) for axis in fitted.field.network.axes] == [Siren, GaussianNetwork]
    assert fitted.metrics["psnr"] > 20
    fitted.save(tmp_path / "a.safetensors")
    assert torch.equal(load_fitted(tmp_path / "a.safetensors").reconstruction(), fitted.reconstruction())


@pytest.mark.parametrize("kind", ["functional-cp", "functional-tt", "functional-tucker"])
def test_every_network_begins_with_values_of_the_signals_order(kind):
    signal = picture()
    for backbone in BACKBONES:
        recipe = recipe_for(f"{kind}:{backbone.name}", signal)
        deviations = []
        with torch.no_grad():
            for seed in range(3):
                field = initial_field(recipe, target_of(signal), seed)
                deviations.append(field.query(signal.points(torch.arange(192))).value.std().item())
        assert 0.03 < np.mean(deviations) < 3, backbone.name


def test_sizes_and_bands():
    signal = picture()
    recipe = recipe_for("functional-tucker:chebyshev", signal, parameters=4000)
    field = build_field(recipe.field, recipe.options, target_of(signal))
    assert 3000 < sum(p.numel() for p in field.parameters()) <= 4000
    assert band_option("functional-cp:wire") == "stretch"
    assert band_option("functional-cp:wire+polynomial") is None


def test_what_can_not_be_joined_is_said():
    for name, words in (
        ("functional-cp:sirn", "Unknown network 'sirn' .* did you mean 'siren'"),
        ("cp:siren", "'cp' takes no networks on its axes: "),
        ("functional-cp:siren+siren+siren", "names networks of 3 axes, but the image has 2"),
    ):
        with pytest.raises(UsageError, match=words):
            recipe_for(name, picture())
    with pytest.raises(UsageError, match="'functional-tt' joins networks of 2 axes"):
        recipe_for("functional-tt:siren", signal_of(np.zeros(9), "audio"))
    with pytest.raises(DataError, match="A fit names the field 'functional-cp:sirn'"):
        build_field("functional-cp:sirn", {}, target_of(picture()))
