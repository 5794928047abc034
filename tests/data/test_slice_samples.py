import math

import numpy as np
import torch

from onefield.data.contours import Slice
from onefield.data.slice_samples import WIDTHS, sample_slices
from onefield.data.slices import Slices


def disc(height, radius):
    turns = np.linspace(0, 2 * math.pi, 500, endpoint=False)
    circle = radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    contours = (circle,) if radius else ()
    return Slice(f"at {height}", np.array([0.0, 0.0, height]), np.eye(3)[:2], contours)


def sampled(**options):
    slices = Slices.of([disc(0.0, 1.0), disc(0.2, 0.5), disc(0.4, 0.0)])
    return slices, sample_slices(slices, torch.Generator().manual_seed(0), 6000, **options)


def test_sides_and_distances_are_those_of_circles():
    _, samples = sampled()
    height, across = samples.points[:, 2], samples.points[:, :2].norm(dim=1)
    radius = torch.where(height < 0.1, 1.0, 0.5)
    known = height < 0.3
    clear = known & ((across - radius).abs() > 1e-3)
    assert torch.equal(samples.inside[clear], (across < radius)[clear])
    torch.testing.assert_close(samples.distance[known], (across - radius).abs()[known], atol=2e-3, rtol=1e-3)
    assert not samples.inside[~known].any()
    assert torch.isinf(samples.distance[~known]).all()
    contour = samples.contour
    expected = torch.where(contour[:, 2] < 0.1, 1.0, 0.5)
    torch.testing.assert_close(contour[:, :2].norm(dim=1), expected, atol=1e-4, rtol=0)


def test_ranks_are_narrower_and_narrower_about_the_contours():
    slices, samples = sampled()
    half = max(slices.bounds.extent) / 2
    for rank, width in enumerate(WIDTHS, start=1):
        assert (samples.distance[samples.rank == rank] < 5 * width * half).all()
        assert samples.distance[samples.rank == rank].median() < width * half
    assert slices.bounds.contains(samples.points).all()


def test_without_hierarchy_points_are_spread_evenly():
    _, samples = sampled(hierarchical=False)
    assert (samples.rank == 0).all()
    first = samples.points[:, 2] == 0
    share = samples.inside[first].float().mean().item()
    assert abs(share - math.pi / 2.2**2) < 0.04  # the box is 2.2 wide
