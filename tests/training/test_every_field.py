"""Every representation on every kind of signal that it can represent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal, signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.fit_methods import METHOD_NAMES
from onefield.training.point_fit import PointSource
from onefield.training.recipes import FIELD_NAMES, band_option, build_field, recipe_for, target_of
from onefield.training.tasks.poisson import FromDerivatives
from onefield.types import Mesh, PointCloud

# What has features on planes or products of two axes and more says that a signal has too few; noise is of samples.
REFUSED = {
    ("vm", "audio"),
    ("vm", "image"),
    ("tri-plane", "audio"),
    ("k-planes", "audio"),
    ("functional-tt", "audio"),
    ("bayesian-tucker", "shape"),
}


def waves(*shape):
    """A smooth signal with a channel for each axis and one of all."""
    places = np.meshgrid(*[np.linspace(0, 3, side) for side in shape], indexing="ij")
    channels = [np.sin(place + axis) for axis, place in enumerate(places)]
    return np.stack([*channels, np.cos(sum(places))][:3], -1).astype(np.float32)


def solid():
    sphere = trimesh.creation.icosphere(2)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces))


def cloud():
    points = torch.nn.functional.normalize(torch.randn(300, 3), dim=1)
    return PointCloud(points, normals=points)


SIGNALS = {
    "audio": lambda: signal_of(waves(300)[:, 0], "audio"),
    "image": lambda: signal_of(waves(9, 14), "image"),
    "video": lambda: signal_of(waves(4, 6, 7), "video"),
    "volume": lambda: signal_of(waves(5, 6, 7)[..., :1], "volume"),
    "shape": lambda: Shape.of(solid()),
}


def error(fitted, signal):
    """Mean square, of values or of distances."""
    if isinstance(signal, Signal):
        return float((fitted.reconstruction() - signal.values).square().mean())
    points = torch.randn(2000, 3, generator=torch.Generator().manual_seed(4))
    points = points / points.norm(dim=1, keepdim=True) * torch.linspace(0.7, 1.15, 2000)[:, None]
    return float((fitted(points) - (points.norm(dim=1) - 1)).square().mean())


def small(recipe):
    """Cheap enough for a test of all."""
    width = min(32, int(recipe.options.get("width", 32)))
    return replace(recipe, batch=512, options=recipe.options | {"width": width, "rank": 8, "latent": 200, "modes": 4})


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", FIELD_NAMES)
def test_the_error_falls(name, kind, monkeypatch):
    torch.manual_seed(0)
    signal = SIGNALS[kind]()
    if (name, kind) in REFUSED:
        with pytest.raises(UsageError, match=f"'{name}'"):
            fit(signal, name, steps=1)
        return
    monkeypatch.setattr("onefield.training.fit.recipe_for", lambda *given: small(recipe_for(*given)))
    monkeypatch.setattr("onefield.training.fit_scores._HELD_OUT", 2**10)
    found = error(fit(signal, name, steps=40), signal)
    if name == "bayesian-tucker":
        # its posterior fits whatever the steps have left over
        assert found < 0.1 * float(signal.values.var())
        return
    # a step of a grid reaches few of its vertices near a surface
    least = 0.9 if isinstance(signal, Signal) else 1.0
    assert found < least * error(fit(signal, name, steps=1), signal)


# Kernels of grids stop at second derivatives, and a hash grid's network has none.
WITHOUT_LAPLACIAN = {"dense", "hash", "cp", "vm", "tri-plane", "k-planes"}
# With every field of values by itself; the others move or scale what only some fields have.
UNIVERSAL_METHODS = {"iga", "iterative", "s3im", "teaching", "total-variation"}


def is_answered(signal, name, **options):
    """Whether a fit ends in finite answers, or in a sentence."""
    try:
        assert torch.isfinite(fit(signal, name, steps=1, **options).reconstruction()).all()
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in FIELD_NAMES if name not in ("vm", "bayesian-tucker")])
def test_derivatives_and_ways_of_fitting_are_learned_or_refused(name, monkeypatch):
    monkeypatch.setattr("onefield.training.fit.recipe_for", lambda *given: small(recipe_for(*given)))
    signal = signal_of(waves(6, 7), "image")
    assert is_answered(signal, name, task=FromDerivatives())
    bent = is_answered(signal, name, task=FromDerivatives("laplacian"))
    assert bent == (name not in WITHOUT_LAPLACIAN)
    taken = {method for method in METHOD_NAMES if is_answered(signal, name, methods=[method])}
    assert taken >= UNIVERSAL_METHODS
    assert ("fresh" in taken) == (band_option(name) is not None)
    assert ("singularities" in taken) == (name == "band-split")


@pytest.mark.parametrize("name", [name for name in FIELD_NAMES if name not in ("dense", "bayesian-tucker")])
def test_the_loss_on_a_cloud_falls(name):
    torch.manual_seed(0)
    signal = Points.of(cloud())
    recipe = small(recipe_for(name, signal))
    field = build_field(name, recipe.options, target_of(signal))
    source = PointSource(signal, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(field.parameters(), lr=recipe.network_rate)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = source.loss(field, 256)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
