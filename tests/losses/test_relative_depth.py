"""Depth in an unknown unit, against correlation: the share of variance that a straight line leaves is 1 - r^2."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.losses.relative_depth import FEWEST_RAYS, relative_depth_error, relative_depth_term
from onefield.losses.term import Evidence
from onefield.types import Rays, Rendering

IMAGES = torch.tensor([3, 7]).repeat(20)
EVERY = torch.ones(40, dtype=torch.bool)


def depths(seed: int):
    return 1 + torch.rand(40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_image_has_a_scale_and_a_shift_of_its_own():
    depth = depths(0)
    scale, shift = torch.tensor([2.0, -0.3], dtype=torch.float64), torch.tensor([5.0, 0.1], dtype=torch.float64)
    which = (IMAGES == 7).long()
    assert relative_depth_error(depth, scale[which] * depth + shift[which], IMAGES, EVERY) < 1e-20


def test_what_a_line_leaves_is_the_unexplained_variance():
    depth, target = depths(0), depths(1)
    left = [1 - np.corrcoef(depth[image == IMAGES], target[image == IMAGES])[0, 1] ** 2 for image in (3, 7)]
    found = relative_depth_error(depth, target, IMAGES, EVERY)
    assert found.item() == pytest.approx(np.mean(left))
    # unknown rays count for nothing, in whatever number they come
    hidden = EVERY.clone()
    hidden[IMAGES == 7] = False
    assert relative_depth_error(depth, 9 * target, IMAGES, hidden).item() == pytest.approx(left[0])
    depth.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda d: relative_depth_error(d, target, IMAGES, EVERY), (depth,))


def test_too_few_rays_and_flat_images_say_nothing():
    few = torch.arange(40) < 2 * FEWEST_RAYS - 2
    assert relative_depth_error(depths(0), depths(1), IMAGES, few) == 0
    flat = torch.full((40,), 2.0, requires_grad=True)
    loss = relative_depth_error(flat, depths(1).float(), IMAGES, EVERY)
    loss.backward()
    assert loss == 0
    assert torch.isfinite(flat.grad).all()


def test_a_shift_along_the_axis_is_taken_up_where_rays_are_oblique():
    depth, cosines = depths(0), depths(2) / 2
    rendering = Rendering(torch.zeros(40, 3), depth / cosines, torch.ones(40))
    rays = Rays(torch.zeros(40, 3), torch.ones(40, 3), camera_indices=IMAGES)
    given = Evidence(torch.zeros(40, 3), torch.zeros(40, 3), SphereField(), rendering, rays)
    given = replace(given, target_depth=(0.4 * depth + 3) / cosines, cosines=cosines)
    assert relative_depth_term().evaluate(given) < 1e-20
    # along the rays themselves it would not be one shift
    along = relative_depth_error(rendering.depth, given.target_depth, IMAGES, EVERY)
    assert along > 1e-3
    assert relative_depth_term().evaluate(replace(given, target_depth=None)) == 0
