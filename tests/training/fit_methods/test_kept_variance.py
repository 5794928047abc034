"""Starts that keep variance, in the field of a fit."""

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.fields.networks.activated import ActivatedNetwork
from onefield.training.fit import fit
from onefield.training.fit_methods import KeptVariance


def noise():
    return signal_of(np.random.default_rng(0).random((8, 8, 1), dtype=np.float32), "image")


@pytest.mark.parametrize(("field", "samples"), [("siren", None), ("finer", 200_000)])
def test_activations_see_the_deviation_that_was_asked_for(field, samples):
    # one step moves each number by a twentieth of the learning rate at most
    fitted = fit(noise(), field, methods=[KeptVariance(0.7, samples)], steps=1)
    (network,) = [module for module in fitted.field.modules() if isinstance(module, ActivatedNetwork)]
    seen = torch.rand(512, 2) * 2 - 1
    with torch.no_grad():
        for layer, factor in enumerate(network.factors):
            values = factor * seen @ network.weights[layer].T
            # two inputs leave the first layer's to the draw
            assert layer == 0 or float(values.square().mean().sqrt()) == pytest.approx(0.7, rel=0.12)
            seen = network.activate(values)


def test_fields_without_such_layers_are_refused():
    with pytest.raises(UsageError, match="'variance' needs layers of one activation"):
        fit(noise(), "hash", methods="variance", steps=1)
