"""The tree of boxes: every ellipsoid lies in all boxes above it, and nobody is lost or listed twice."""

from __future__ import annotations

import pytest
import torch

from onefield.kernels.gaussian_tree import LEAF, gaussian_tree
from tests.kernels.gaussian_rays import rays_and_gaussians


@pytest.mark.parametrize("count", [1, LEAF, LEAF + 1, 150])
def test_boxes_hold_the_ellipsoids_of_all_that_is_beneath_them(count):
    _, gaussians = rays_and_gaussians(1, count)
    tree = gaussian_tree(*gaussians[:2], gaussians.reaches)
    leaves = len(tree.boxes) // 2
    assert sorted(tree.order.tolist()) == list(range(count))
    generator = torch.Generator().manual_seed(0)
    sphere = torch.nn.functional.normalize(torch.randn(300, 3, generator=generator), dim=-1)
    for place, i in enumerate(tree.order.tolist()):
        # the border is where the whitened offset is as long as the reach
        border = gaussians.means[i] + gaussians.reaches[i] * sphere @ torch.linalg.inv(gaussians.whitening[i]).mT
        node = leaves + place // LEAF
        while node:
            box = tree.boxes[node]
            assert bool(((border >= box[:3]) & (border <= box[3:])).all())
            node //= 2


def test_boxes_are_tight():
    _, gaussians = rays_and_gaussians(1, 1)
    covariance = torch.linalg.inv(gaussians.whitening[0].mT @ gaussians.whitening[0])
    half = gaussians.reaches[0] * covariance.diagonal().sqrt()
    tree = gaussian_tree(*gaussians[:2], gaussians.reaches)
    torch.testing.assert_close(tree.boxes[1], torch.cat([gaussians.means[0] - half, gaussians.means[0] + half]))


def test_neighbours_on_the_curve_are_neighbours_in_space():
    _, gaussians = rays_and_gaussians(1, 1000)
    order = gaussian_tree(*gaussians[:2], gaussians.reaches).order.long()
    apart = gaussians.means[order].diff(dim=0).norm(dim=-1).mean()
    assert float(apart) < 0.4 * float(gaussians.means.diff(dim=0).norm(dim=-1).mean())


def test_what_means_nothing_is_in_no_box():
    _, gaussians = rays_and_gaussians(1, 5)
    whitening, reaches = gaussians.whitening.clone(), gaussians.reaches.clone()
    whitening[0] = torch.inf
    whitening[1] = torch.nan
    reaches[2:] = 0
    boxes = gaussian_tree(gaussians.means, whitening, reaches).boxes[1:]
    assert bool((boxes == torch.inf).all())
    assert len(gaussian_tree(gaussians.means[:0], whitening[:0], reaches[:0]).order) == 0
