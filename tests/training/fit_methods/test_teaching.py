"""Which samples are taught, and when."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.siren import Siren
from onefield.training.fit_methods.teaching import Teaching, hardest_samples
from onefield.training.recipes import target_of


def image_and_field():
    torch.manual_seed(3)
    array = torch.rand(9, 14, 3).numpy()
    array[2:4, 5] = np.nan
    signal = signal_of(array, "image")
    return signal, ComposedField(signal.domain, IdentityEncoding(2), Siren(2, 3, 16, 1), [ValueHead()])


@torch.no_grad()
def test_the_hardest_are_those_with_the_largest_sums_of_errors():
    signal, field = image_and_field()
    height, width = signal.shape
    error = {}
    for j in range(height):
        for i in range(width):
            if torch.isfinite(signal.values[j, i]).all():
                point = torch.tensor([[(i + 0.5) / 14, (j + 0.5) / 14]])
                error[j * width + i] = float((field.query(point).value - signal.values[j, i]).abs().sum())
    expected = sorted(sorted(error, key=error.get)[-20:])
    assert hardest_samples(field, signal, signal.known(), 20).tolist() == expected
    # a ratio of 124 samples, rounded down
    for ratio, count in ((0.25, 31), (0.255, 31)):
        parts = Teaching(ratio, "constant").begin(field, signal, target_of(signal), torch.Generator())
        assert set(parts.pick(field, 10_000).tolist()) == set(sorted(error, key=error.get)[-count:])


def test_schedules_rise_from_the_ratio_to_all():
    moments = (0.0, 0.25, 0.5, 0.99)
    shares = {
        name: [Teaching(0.2, name).share(p) for p in moments] for name in ("constant", "linear", "step", "cosine")
    }
    assert shares["constant"] == [0.2] * 4
    assert shares["linear"] == pytest.approx([0.2, 0.4, 0.6, 0.992])
    # ten stages: 0.2, 0.28, ..., 0.92, and all only when the fit is over
    assert shares["step"] == pytest.approx([0.2, 0.36, 0.6, 0.92])
    assert Teaching().share(1.0) == pytest.approx(1.0)
    assert shares["cosine"] == pytest.approx(0.2 + 0.4 * (1 - np.cos(np.array(moments) * np.pi)))


def test_selections_become_rare_and_hold_in_between():
    teaching = Teaching(schedule="constant")
    pauses = [teaching.pause(progress) for progress in (0, 0.2, 0.26, 0.41, 0.56, 0.71, 0.86, 1)]
    assert pauses == pytest.approx([0, 0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.01])
    assert Teaching(interval="dense").pause(0.9) == 0
    signal, field = image_and_field()
    parts = teaching.begin(field, signal, target_of(signal), torch.Generator())
    (advance,) = parts.advance

    def picked(progress):
        advance(field, progress)
        return parts.pick(field, 10_000)

    first = picked(0.3)
    torch.nn.init.normal_(field.network.weights[0])
    assert torch.equal(picked(0.3015), first)
    assert not torch.equal(picked(0.3025), first)


def test_five_thousand_steps_select_when_the_paper_does(monkeypatch):
    """Each of the first 1,250, then those that 10, 20, ..., 50 divide, for 750 steps each."""
    selected = []

    def taken(field, signal, candidates, count):
        selected.append(step)
        return candidates[:count]

    monkeypatch.setattr("onefield.training.fit_methods.teaching.hardest_samples", taken)
    signal, field = image_and_field()
    parts = Teaching().begin(field, signal, target_of(signal), torch.Generator())
    for step in range(5000):
        parts.advance[0](field, step / 5000)
        parts.pick(field, 10_000)
    assert selected == [s for s in range(5000) if s < 1250 or s % (10 * (1 + (s - 1250) // 750)) == 0]


def test_wrong_settings_are_named():
    with pytest.raises(UsageError, match="ratio above 0"):
        Teaching(ratio=0.0)
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        Teaching(schedule="cosin")
