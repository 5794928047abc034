"""Every representation on every kind of signal that it can represent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal, signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.recipes import FIELD_NAMES
from onefield.types import Mesh, PointCloud

# What has features on planes or products of two axes and more says that a signal has too few.
TOO_FEW_AXES = {
    ("vm", "audio"),
    ("vm", "image"),
    ("tri-plane", "audio"),
    ("k-planes", "audio"),
    ("functional-tt", "audio"),
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
    "points": lambda: Points.of(cloud()),
}


def error(fitted, signal):
    """Mean square, of values or of distances."""
    if isinstance(signal, Signal):
        return float((fitted.reconstruction() - signal.values).square().mean())
    generator = torch.Generator().manual_seed(4)
    points = torch.randn(2000, 3, generator=generator)
    points = points / points.norm(dim=1, keepdim=True) * (0.7 + 0.45 * torch.rand(2000, 1, generator=generator))
    return float((fitted(points) - (points.norm(dim=1) - 1)).square().mean())


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", FIELD_NAMES)
def test_the_error_falls(name, kind):
    torch.manual_seed(0)
    signal = SIGNALS[kind]()
    if (name, kind) in TOO_FEW_AXES:
        with pytest.raises(UsageError, match=f"'{name}'"):
            fit(signal, name, steps=1)
        return
    if (name, kind) == ("dense", "points"):
        assert error(fit(signal, name), signal) < 1e-3  # solved for, in no steps
        return
    steps = 40 if isinstance(signal, Signal) else 6
    assert error(fit(signal, name, steps=steps), signal) < 0.8 * error(fit(signal, name, steps=1), signal)
