"""Fusing depth pictures: against worked corners and the reference, with any number of threads."""

import math

import numba
import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.tsdf import integrate_depth

MODES = pytest.mark.parametrize("mode", ["fast", "reference"])
# index coordinates are camera coordinates, with corner (0, 0, 0) half a unit off the axis
AHEAD = torch.tensor([[1.0, 0.0, 0.0, -2.0], [0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)


def volume(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype), torch.zeros(*shape, 4, dtype=dtype)


def wall(depth_along_z, width=41, focal=20.0):
    """What a camera sees of a wall across its axis, along the rays."""
    center = width / 2
    axis = (torch.arange(width) + 0.5 - center) / focal
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return depth_along_z * (1 + x * x + y * y).sqrt(), (focal, focal, center, center)


@MODES
def test_a_wall_is_told_along_the_rays(mode):
    """On the axis D is the plain distance; elsewhere it is that times the length of the ray to the plane z = 1."""
    depth, intrinsics = wall(6.0)
    distances, weights, colors = volume(5, 5, 12)
    picture = torch.tensor([0.2, 0.4, 0.8]).expand(*depth.shape, 3)
    with use(mode):
        integrate_depth(distances, weights, colors, depth, torch.full_like(depth, 0.5), picture, AHEAD, intrinsics, 3.0)
    for x, y, z in [(2, 2, 0), (2, 2, 3), (2, 2, 5), (2, 2, 6), (2, 2, 7), (2, 2, 9), (1, 3, 7), (4, 0, 4), (3, 3, 5)]:
        place = torch.tensor([x - 2.0, y - 2.0, z + 1.0])
        ahead = (6.0 - float(place[2])) * float(place.norm() / place[2]) / 3.0
        expected = 0.5 * (1 + min(ahead, 0.0)) if ahead > -1 else 0.0
        assert float(weights[x, y, z]) == pytest.approx(expected, abs=2e-3), (x, y, z)
        assert float(distances[x, y, z]) == pytest.approx(expected * min(ahead, 1.0), abs=2e-3), (x, y, z)
        near = 0.5 * max(1 - abs(ahead), 0.0)
        assert colors[x, y, z].tolist() == pytest.approx([0.2 * near, 0.4 * near, 0.8 * near, near], abs=2e-3)


@MODES
def test_views_add_up(mode):
    depth, intrinsics = wall(6.0)
    other, _ = wall(7.0)
    trust = torch.ones_like(depth)
    distances, weights, _ = volume(5, 5, 12)
    with use(mode):
        integrate_depth(distances, weights, None, depth, trust, None, AHEAD, intrinsics, 4.0)
        integrate_depth(distances, weights, None, other, 3 * trust, None, AHEAD, intrinsics, 4.0)
    # at z = 5: (1/4 + 3 * 2/4) / 4
    assert float(distances[2, 2, 4] / weights[2, 2, 4]) == pytest.approx((0.25 + 3 * 0.5) / 4)
    assert float(weights[2, 2, 4]) == pytest.approx(4.0)


@MODES
def test_where_nothing_is_met_all_is_free(mode):
    depth, intrinsics = wall(math.inf)
    distances, weights, _ = volume(5, 5, 12)
    with use(mode):
        integrate_depth(distances, weights, None, depth, torch.ones_like(depth), None, AHEAD, intrinsics, 1.0)
    inside = weights[2, 2]
    assert (inside == 1).all()
    assert torch.equal(distances, weights)


@MODES
def test_unknown_untrusted_and_unseen_places_stay(mode):
    depth, intrinsics = wall(6.0)
    trust = torch.ones_like(depth)
    depth[:, :20] = math.nan
    trust[:, 21:] = 0
    distances, weights, _ = volume(5, 5, 12)
    behind = AHEAD.clone()
    behind[2, 3] = -20.0
    with use(mode):
        integrate_depth(distances, weights, None, depth, trust, None, AHEAD, intrinsics, 1.0)
        integrate_depth(distances, weights, None, depth, torch.ones_like(depth), None, behind, intrinsics, 1.0)
    # only the column of pixels on the axis tells anything, and only of the corners before the wall
    assert (weights[:2] == 0).all()
    assert (weights[3:] == 0).all()
    assert (weights[2, 2, :6] > 0).all()
    assert (weights[2, :, 7:] == 0).all()


@MODES
def test_an_outline_is_not_smeared(mode):
    """Between a near and a far surface a corner belongs to one of them."""
    depth, intrinsics = wall(3.0)
    far, _ = wall(9.0)
    depth[:, 21:] = far[:, 21:]
    distances, weights, _ = volume(5, 5, 12)
    half_right = AHEAD.clone()
    half_right[0, 3] = -2.0 + 0.4 * 6.0 / 20.0  # at z = 6, 0.4 pixels right of the last near column
    with use(mode):
        integrate_depth(distances, weights, None, depth, torch.ones_like(depth), None, half_right, intrinsics, 1.0)
    assert float(weights[2, 2, 5]) == 0.0
    assert float(distances[2, 2, 1]) == 1.0


def random_view(seed):
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(23, 31, generator=generator) * 0.4 + 2.0
    depth[3:6] = math.inf
    depth[7, 4:9] = math.nan
    trust = (torch.rand(23, 31, generator=generator) - 0.1).clamp(min=0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    matrix = torch.cat([turn * 0.1, torch.tensor([[0.0], [0.1], [2.0]], dtype=torch.float64)], dim=1)
    return depth, trust, torch.rand(23, 31, 3, generator=generator), matrix, (25.0, 26.0, 15.0, 12.0), 0.3


def fused(views, dtype=torch.float32):
    sums = volume(12, 13, 14, dtype=dtype)
    for depth, trust, picture, *rest in views:
        integrate_depth(*sums, depth.to(dtype), trust.to(dtype), picture.to(dtype), *rest)
    return sums


def test_kernel_and_reference_agree_on_rough_pictures():
    views = [random_view(seed) for seed in range(6)]
    found, exact = fused(views), fused(views, torch.float64)
    assert (exact[1] > 0).float().mean() > 0.3
    for ours, truth in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), truth, atol=1e-5, rtol=1e-5)


def test_sums_do_not_depend_on_threads():
    views = [random_view(seed) for seed in range(2)]
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        many = fused(views)
        numba.set_num_threads(1)
        alone = fused(views)
    finally:
        numba.set_num_threads(before)
    for one, other in zip(many, alone, strict=True):
        assert torch.equal(one, other)


def test_refusals():
    depth, intrinsics = wall(6.0)
    distances, weights, colors = volume(3, 3, 3)
    rest = (AHEAD, intrinsics, 1.0)
    with pytest.raises(UsageError, match="confidence"):
        integrate_depth(distances, weights, None, depth, depth[1:], None, *rest)
    with pytest.raises(UsageError, match="picture"):
        integrate_depth(distances, weights, colors, depth, depth, None, *rest)
    with pytest.raises(UsageError, match="positive truncation"):
        integrate_depth(distances, weights, None, depth, depth, None, AHEAD, intrinsics, 0.0)
    with pytest.raises(UsageError, match="one floating-point type"):
        integrate_depth(distances, weights, None, depth.double(), depth.double(), None, *rest)
    with pytest.raises(UsageError, match="contiguous"):
        integrate_depth(distances.transpose(0, 1), weights, None, depth, depth, None, *rest)
