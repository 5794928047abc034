import math

import pytest
import torch

from onefield.losses.line_of_sight import SPREAD, line_of_sight_error
from onefield.types import RaySamples


def samples_at(midpoints: list[float], rays: list[int]) -> RaySamples:
    middle = torch.tensor(midpoints, dtype=torch.float64)
    indices = torch.tensor(rays)
    counts = torch.bincount(indices, minlength=max(rays) + 1)
    return RaySamples(indices, middle - 0.01, middle + 0.01, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))


def test_light_from_the_known_distance_costs_nothing():
    samples = samples_at([1.0, 2.0, 2.0 + 2.0 * SPREAD], [0, 0, 0])
    target = torch.tensor([2.0], dtype=torch.float64)
    assert line_of_sight_error(torch.tensor([0.0, 1.0, 0.0]).double(), samples, target).item() == pytest.approx(0)
    # one spread away it counts half, and light that is missing altogether in full
    assert line_of_sight_error(torch.tensor([0.0, 0.0, 1.0]).double(), samples, target).item() == pytest.approx(0.5)
    assert line_of_sight_error(torch.zeros(3).double(), samples, target).item() == pytest.approx(1)


def test_rays_of_unknown_distance_do_not_count():
    samples = samples_at([1.0, 3.0], [0, 1])
    weights = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([math.nan, 3.0], dtype=torch.float64)
    error = line_of_sight_error(weights, samples, target)
    error.backward()
    assert error.item() == pytest.approx(0)
    torch.testing.assert_close(weights.grad, torch.tensor([0.0, -1.0], dtype=torch.float64))
    assert line_of_sight_error(weights, samples, torch.full((2,), math.nan, dtype=torch.float64)).item() == 0
