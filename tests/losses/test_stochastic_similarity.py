"""S3IM against windows taken one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.configs.objective import build_objective
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.losses.stochastic_similarity import stochastic_dissimilarity
from onefield.losses.term import Evidence

C1, C2 = 1e-4, 9e-4


def window_weights():
    rows, columns = np.mgrid[0:4, 0:4] - 1.5
    weights = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    return (weights / weights.sum()).ravel()


def index_of(x, y):
    """Wang et al. 2004, eq. 13, of two windows of 16 numbers."""
    w = window_weights()
    mx, my = w @ x, w @ y
    vx, vy, cov = w @ (x - mx) ** 2, w @ (y - my) ** 2, w @ ((x - mx) * (y - my))
    return (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))


def test_it_is_the_mean_index_of_shuffled_windows():
    values = torch.rand(2, 37, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    found = stochastic_dissimilarity(*values, torch.Generator().manual_seed(5), value_range=2.0, repeats=3)
    shuffler = torch.Generator().manual_seed(5)
    x, y = (values / 2).numpy()
    indices = []
    for _ in range(3):
        order = torch.randperm(37, generator=shuffler).numpy()
        for window in (order[:16], order[16:32]):
            indices += [index_of(x[window, channel], y[window, channel]) for channel in range(2)]
    assert found.item() == pytest.approx(1 - np.mean(indices), rel=1e-12)


def test_equal_batches_lose_nothing_and_constants_have_a_closed_form():
    values = torch.rand(64, 3, dtype=torch.float64)
    assert stochastic_dissimilarity(values, values).item() == pytest.approx(0, abs=1e-14)
    a, b = 0.3, 0.7
    found = stochastic_dissimilarity(*(torch.full((20, 1), each, dtype=torch.float64) for each in (a, b)))
    assert found.item() == pytest.approx(1 - (2 * a * b + C1) / (a * a + b * b + C1), rel=1e-9)
    with pytest.raises(UsageError, match="windows of 16 points, but a batch has 15"):
        stochastic_dissimilarity(values[:15], values[:15])


def test_configurations_know_it():
    (term,) = build_objective({"s3im": 0.5}, SphereField())
    colors = torch.rand(32, 3)
    assert term.weight == 0.5
    assert term.evaluate(Evidence(colors, colors, SphereField())).item() == pytest.approx(0, abs=1e-6)
