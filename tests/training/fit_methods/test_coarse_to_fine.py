"""Levels of encodings that come by and by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.fields.encodings.fourier import FourierEncoding, GaussianFourierEncoding
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.encodings.planes import KPlanesEncoding
from onefield.kernels import use
from onefield.training.fit import fit
from onefield.training.fit_methods.coarse_to_fine import CoarseToFine

POINTS = torch.rand(7, 2, generator=torch.Generator().manual_seed(0))
HALF = (1 - math.cos(0.5 * math.pi)) / 2


def masked(encoding, count):
    """Ratio of features with so many levels to those with all."""
    for parameter in encoding.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.0)
    with use("reference"):
        every = encoding(POINTS)
        encoding.use_levels(count)
        return (encoding(POINTS) / every)[0].detach().numpy()


def test_levels_are_weighed_by_the_window_of_half_a_cosine():
    np.testing.assert_allclose(masked(FourierEncoding(2, 3), 1.5), [1, 1] + 2 * [1, 1, HALF, HALF, 0, 0], atol=1e-6)
    grids = HashGridEncoding(2, 3, 2, 8, 4, 9)
    np.testing.assert_allclose(masked(grids, 1.5), [1, 1, HALF, HALF, 0, 0], atol=1e-6)
    np.testing.assert_allclose(
        masked(KPlanesEncoding(2, (3, 5, 9), 2), 1.25), [1, 1] + 2 * [(1 - 2**-0.5) / 2] + [0, 0], atol=1e-6
    )


def test_gaussian_frequencies_come_in_the_order_of_their_length():
    encoding = GaussianFourierEncoding(2, features=10, scale=3.0)
    kept = masked(encoding, 2) > 0.5
    lowest = np.argsort(encoding.frequencies.norm(dim=1).numpy())[:2]
    assert sorted(np.flatnonzero(kept)) == sorted([*lowest, *(lowest + 5)])


def test_all_levels_are_in_use_at_the_end_of_a_fit():
    signal = signal_of(np.random.default_rng(0).random((12, 9, 3), dtype=np.float32), "image")
    encoding = fit(signal, "fourier", methods=[CoarseToFine(first=0.1, end=1.0)], steps=3).field.encoding
    assert encoding.active_levels == encoding.level_count == 128
    with pytest.raises(UsageError, match="encoding with levels"):
        fit(signal, "siren", methods=["coarse-to-fine"], steps=3)
