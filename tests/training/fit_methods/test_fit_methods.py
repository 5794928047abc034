"""Ways of fitting with representations, signals and one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from onefield.data.signals import Shape, signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.fit_methods import METHOD_NAMES, FrequencyShift, methods_of
from onefield.training.recipes import recipe_for
from onefield.types import Mesh


def picture():
    down, across = np.meshgrid(np.linspace(0, 3, 16), np.linspace(0, 5, 20), indexing="ij")
    return signal_of(np.stack([np.sin(down + across), np.cos(2 * across)], -1).astype(np.float32), "image")


@pytest.fixture
def small(monkeypatch):
    def recipe(*given):
        found = recipe_for(*given)
        return replace(found, options=found.options | {"width": 16, "rank": 4})

    monkeypatch.setattr("onefield.training.fit.recipe_for", recipe)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_errors_fall_with_each_method(name, small):
    # variance is kept in networks with one activation throughout, levels come by and by in encodings
    signal, field = picture(), {"variance": "siren", "singularities": "band-split"}.get(name, "fourier")
    begun, ended = (fit(signal, field, methods=[name], steps=steps) for steps in (1, 150 if name == "variance" else 50))
    assert ended.metrics["psnr"] > begun.metrics["psnr"] + 2


def test_methods_go_together_and_with_separable_fields(small):
    fitted = fit(picture(), "functional-cp", methods=["teaching", "s3im"], steps=30)
    assert fitted.metrics["psnr"] > 8


def test_tasks_take_methods_that_leave_their_error_alone(small):
    fitted = fit(picture(), "fourier", methods=["coarse-to-fine"], task="denoise", steps=5)
    assert fitted.field.encoding.active_levels == fitted.field.encoding.level_count
    with pytest.raises(UsageError, match="'denoise' says itself what is made small, beside teaching"):
        fit(picture(), "fourier", methods=["teaching"], task="denoise", steps=1)


def test_no_method_changes_a_fit_without_it(small):
    plain, taught = (fit(picture(), "siren", methods=names, steps=10).reconstruction() for names in ((), ("teaching",)))
    assert not torch.equal(plain, taught)
    assert torch.equal(plain, fit(picture(), "siren", steps=10).reconstruction())


def test_what_does_not_suit_is_said():
    sphere = trimesh.creation.icosphere(1)
    shape = Shape.of(Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces)))
    with pytest.raises(UsageError, match=r"'teaching' works on samples .* not on a shape"):
        fit(shape, "siren", methods=["teaching"], steps=1)
    with pytest.raises(UsageError, match="did you mean 'teaching'"):
        methods_of(["teachin"])
    with pytest.raises(UsageError, match="given twice"):
        methods_of(["s3im", "s3im"])
    with pytest.raises(UsageError, match="'teaching' and 'iga' both choose the samples"):
        fit(picture(), "siren", methods=["teaching", "iga"], steps=1)
    with pytest.raises(UsageError, match="'fresh' chooses how a field is built, but got a ComposedField"):
        fit(picture(), fit(picture(), "siren", steps=1).field, methods=[FrequencyShift((1.0,), draws=1)], steps=1)
