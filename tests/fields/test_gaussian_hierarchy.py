"""Gaussians in levels: children near their parents and smaller, whatever the parameters; and levels that learn."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.fields.gaussian_hierarchy import CHILDREN, LEAST_LOG_SCALE, GaussianHierarchy, offspring
from onefield.fields.gaussians import GaussianField, HasGaussians
from onefield.kernels.gaussian_footprints import rotations
from onefield.types import Bounds, Gaussians, PointCloud

DRAWS = 10_000


def parents(generator: torch.Generator) -> Gaussians:
    """Of any orientation, and of sizes down to the least."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    sizes = (normal(DRAWS, 3) * 3 - 4).clamp(LEAST_LOG_SCALE, 0)
    return Gaussians(normal(DRAWS, 3), sizes, normal(DRAWS, 4), normal(DRAWS), (normal(DRAWS, 1, 3),))


@pytest.mark.parametrize("spread", [0.1, 3.0, 1000.0])
def test_ten_thousand_children_lie_in_their_parents_boxes_and_are_smaller(spread):
    generator = torch.Generator().manual_seed(int(spread))
    above = parents(generator)
    shifts, shrinkage = (torch.randn(DRAWS, 3, dtype=torch.float64, generator=generator) * spread for _ in range(2))
    means, log_scales = offspring(above, shifts, shrinkage, level=0, dense=0.01)
    local = (rotations(above.quaternions).mT @ (means - above.means)[:, :, None])[:, :, 0]
    assert int((local.abs() > above.log_scales.exp() * (1 + 1e-9)).any(1).sum()) == 0
    assert int((log_scales >= above.log_scales).any(1).sum()) == 0
    # in the precision of training, too, where tiny differences round away
    bands = (above.harmonics[0].float(),)
    single = Gaussians(
        above.means.float(), above.log_scales.float(), above.quaternions.float(), above.opacities.float(), bands
    )
    _, log_scales = offspring(single, shifts.float(), shrinkage.float(), level=0, dense=0.01)
    assert int((log_scales >= single.log_scales).any(1).sum()) == 0


def hierarchy(levels: int = 3, roots: int = 12) -> GaussianHierarchy:
    torch.manual_seed(roots)
    return GaussianHierarchy.from_points(
        Bounds.cube(1.0), PointCloud(torch.rand(roots, 3), torch.rand(roots, 3)), levels
    )


def test_every_level_is_smaller_than_the_one_above_down_to_the_least():
    some = hierarchy(levels=4)
    with torch.no_grad():
        for node in [*some.members, *some.anchors]:
            node.shrinkage.fill_(-50.0)
    sizes = some.gaussians().log_scales.detach().split([12 * CHILDREN**level for level in range(4)])
    assert float(sizes[0].max()) < LEAST_LOG_SCALE
    for larger, smaller in pairwise(sizes):
        assert float(smaller.max()) < float(larger.min())


def test_large_parents_are_split_and_small_ones_only_shrink():
    one = Gaussians(
        torch.zeros(2, 3),
        torch.tensor([[0.1, 0.001, 0.001], [0.005, 0.005, 0.005]]).log(),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, 4),
        torch.zeros(2),
        (torch.zeros(2, 1, 3),),
    )
    _, log_scales = offspring(one, torch.zeros(2, 3), torch.full((2, 3), 100.0), level=0, dense=0.01)
    torch.testing.assert_close(
        (one.log_scales - log_scales).exp(), torch.tensor([[2.0] * 3, [1.0] * 3]), atol=3e-3, rtol=0
    )


def test_it_starts_at_its_roots_and_grows_four_times_a_level():
    some = hierarchy()
    gaussians = some.gaussians()
    assert isinstance(some, HasGaussians)
    assert len(some) == len(gaussians) == 12 * (1 + 4 + 16)
    torch.testing.assert_close(gaussians.means[:12], some.root_means)
    torch.testing.assert_close(gaussians.harmonics[0][:12], some.root_colors)
    # the children of a root surround it
    below = gaussians.means[12:60].detach().unflatten(0, (12, 4)) - some.root_means[:, None]
    assert bool((below.abs() <= some.root_log_scales.exp()[:, None]).all())
    assert len(torch.unique(below, dim=1)[0]) == 4
    torch.testing.assert_close(torch.sigmoid(gaussians.opacities), torch.full((len(some),), 0.1))


def test_what_moves_an_anchor_moves_all_below_it_and_nothing_else():
    some = hierarchy()
    before = some.gaussians()
    with torch.no_grad():
        some.anchors[0].shifts[3] += 0.7
        some.anchors[0].opacities[3] += 1.0
        some.anchors[0].turns[3] += 0.3
    after = some.gaussians()
    moved = (before.means != after.means).any(1)
    first, second, third = moved.split([12, 48, 192])
    assert not first.any()
    assert second.nonzero()[:, 0].tolist() == list(range(12, 16))
    assert third.nonzero()[:, 0].tolist() == list(range(48, 64))
    assert torch.equal(before.opacities != after.opacities, moved)


def test_gradients_reach_every_level_and_follow_finite_differences():
    some = hierarchy().double()
    with torch.no_grad():
        for parameter in some.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    weights = torch.randn(len(some), 3, dtype=torch.float64)

    def value() -> torch.Tensor:
        gaussians = some.gaussians()
        mixed = gaussians.means + gaussians.log_scales.exp() + gaussians.harmonics[0][:, 0]
        turned = rotations(gaussians.quaternions)[:, 0]
        return ((mixed + turned) * weights).sum() + (gaussians.opacities * weights[:, 0]).sum()

    value().backward()
    for name, parameter in some.named_parameters():
        assert parameter.grad is not None, name
        step = 1e-6
        with torch.no_grad():
            place = parameter.view(-1)[5:6]
            place += step
            above = value()
            place -= 2 * step
            below = value()
            place += step
        slope = float((above - below) / (2 * step))
        assert parameter.grad.reshape(-1)[5].item() == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_as_a_volume_it_is_the_set_that_it_gives():
    some = hierarchy()
    other = GaussianField(Bounds.cube(1.0), some.gaussians())
    points, directions = torch.rand(40, 3), torch.nn.functional.normalize(torch.randn(40, 3), dim=-1)
    mine, theirs = (one.query(points, directions=directions) for one in (some, other))
    assert mine.density.max() > 0
    torch.testing.assert_close(mine.density, theirs.density)
    torch.testing.assert_close(mine.color, theirs.color)


def test_what_can_not_be_a_hierarchy_is_told():
    with pytest.raises(UsageError, match="at least 1 level, got 0"):
        hierarchy(levels=0)
    coloured = GaussianField.at_random(Bounds.cube(1.0), 4, degree=1)
    coloured.raise_degree(1)
    with pytest.raises(UsageError, match="degree 0 alone"):
        GaussianHierarchy(Bounds.cube(1.0), coloured.gaussians(), 2)
    with pytest.raises(DataError, match="at least 2 finite points, got 1"):
        GaussianHierarchy.from_points(Bounds.cube(1.0), PointCloud(torch.zeros(1, 3)), 2)
