"""Total variation beside the error: by a closed form, and what it fills in."""

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.mlp import Mlp
from onefield.training.fit import fit
from onefield.training.fit_methods import SampleBatch, TotalVariation
from onefield.training.recipes import target_of


def test_a_slope_costs_its_length_between_neighbours():
    signal = signal_of(np.linspace(-3, 1, 8 * 20, dtype=np.float32).reshape(8, 20), "image")
    linear = Mlp(2, 1, hidden_layers=0)
    field = ComposedField(signal.domain, IdentityEncoding(2), linear, [ValueHead()])
    parts = TotalVariation(0.5).begin(field, signal, target_of(signal), torch.Generator().manual_seed(0))
    ends = field.query(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.4]])).value[:, 0].tolist()
    slopes = np.array([ends[1] - ends[0], (ends[2] - ends[0]) / 0.4])
    places = signal.points(torch.arange(40))
    batch = SampleBatch(places, field.query(places).value, signal.at(torch.arange(40)), 2.0, 4.0)
    # twenty pixels along the longest axis, of length 1; half the range is 2
    wanted = 0.5 * np.linalg.norm(slopes / 20) / 2
    assert parts.extra[0](field, batch).item() == pytest.approx(wanted, rel=1e-3)


def test_unknown_samples_are_filled_in_smoothly():
    rows, columns = np.mgrid[0:16, 0:16]
    truth = ((rows + columns > 14) * 0.8).astype(np.float32)
    known = np.random.default_rng(0).random((16, 16)) < 0.5
    signal = signal_of(np.where(known, truth, np.nan).astype(np.float32), "image")

    def error(methods):
        answer = fit(signal, "dense", methods=methods, steps=150).reconstruction()[..., 0].numpy()
        return float(np.square(answer - truth)[~known].mean())

    assert error([TotalVariation(0.05)]) < 0.5 * error([])


def test_a_weight_must_be_positive():
    with pytest.raises(UsageError, match="above 0, got 0"):
        TotalVariation(0)
