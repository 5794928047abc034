"""Marching against every lattice point looked at in turn, and against lengths of chords."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels import use
from onefield.kernels.march import MarchSteps, empty_blocks, march
from onefield.types import Bounds

REGION = Bounds((-1.0, -0.5, -1.0), (1.0, 1.5, 2.0))


def random_rays(count: int):
    origins = torch.randn(count, 3) * 2
    directions = torch.nn.functional.normalize(torch.randn(count, 3) * 0.7 - origins, dim=-1)
    return origins, directions, torch.full((count,), 0.05), torch.full((count,), 9.0)


def random_grid(levels: int, side: int, share: float) -> torch.Tensor:
    grid = torch.rand(levels, side, side, side) < share
    # a large empty part, so that big blocks are skipped as well
    grid[:, : side // 2, : side // 2] = False
    return grid


def cell_centers(side: int, region: Bounds) -> torch.Tensor:
    axis = (torch.arange(side) + 0.5) / side
    return region.from_unit(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1))


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(
    "steps", [MarchSteps(0.03), MarchSteps(0.013, 0.01, 0.05), MarchSteps(0.01, 0.02), MarchSteps(0.02, 0.0, 1.0, 7)]
)
def test_skipping_finds_the_same_samples(levels, steps):
    rays, jitter = random_rays(150), torch.rand(150)
    blocks = empty_blocks(random_grid(levels, 16, 0.05))
    fast = march(*rays, blocks, REGION, steps, jitter)
    with use("reference"):
        slow = march(*rays, blocks, REGION, steps, jitter)
    assert len(slow) > 200
    assert torch.equal(fast.offsets, slow.offsets)
    assert torch.equal(fast.ray_indices, slow.ray_indices)
    torch.testing.assert_close(fast.starts, slow.starts, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(fast.ends, slow.ends, atol=1e-6, rtol=1e-6)
    assert int(fast.offsets.diff().max()) <= steps.most_samples


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_midpoints_lie_in_occupied_cells_of_the_finest_level(mode):
    grid = random_grid(2, 8, 0.3)
    origins, directions, near, far = random_rays(60)
    with use(mode):
        samples = march(origins, directions, near, far, empty_blocks(grid), REGION, MarchSteps(0.05))
    points = origins[samples.ray_indices] + directions[samples.ray_indices] * samples.midpoints[:, None]
    unit = REGION.to_unit(points)
    inner = ((unit > 0) & (unit < 1)).all(-1)
    assert inner.any()
    assert (~inner).any()
    level = (~inner).long()
    cell = torch.where(inner[:, None], unit, (unit + 0.5) / 2) * 8
    sure = ((cell - cell.round()).abs() > 1e-4).all(-1)
    x, y, z = cell.long().clamp(0, 7).unbind(-1)
    assert grid[level, x, y, z][sure].all()


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_intervals_tile_a_full_box_exactly(mode):
    origins, directions, near, far = random_rays(200)
    with use(mode):
        samples = march(origins, directions, near, far, empty_blocks(torch.ones(1, 4, 4, 4).bool()), REGION,
                        MarchSteps(0.01, most_samples=2000))  # fmt: skip
    covered = torch.zeros(200).index_add(0, samples.ray_indices, samples.ends - samples.starts)
    low, high = torch.tensor(REGION.minimum), torch.tensor(REGION.maximum)
    a, b = (low - origins) / directions, (high - origins) / directions
    enter = torch.minimum(a, b).amax(-1).clamp(min=0.05)
    leave = torch.maximum(a, b).amin(-1).clamp(max=9.0)
    torch.testing.assert_close(covered, (leave - enter).clamp(min=0), atol=0.011, rtol=0)
    joined = samples.ray_indices[1:] == samples.ray_indices[:-1]
    assert torch.equal(samples.starts[1:][joined], samples.ends[:-1][joined])


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_far_cuts_the_last_interval_and_near_begins_the_first(mode):
    ray = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    near, far = torch.tensor([0.2]), torch.tensor([0.75])
    with use(mode):
        samples = march(*ray, near, far, empty_blocks(torch.ones(1, 4, 4, 4).bool()), REGION, MarchSteps(0.2))
    torch.testing.assert_close(samples.starts, torch.tensor([0.2, 0.4, 0.6]))
    torch.testing.assert_close(samples.ends, torch.tensor([0.4, 0.6, 0.75]))


def test_steps_grow_with_distance_between_their_limits():
    ray = torch.tensor([[-30.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    steps = MarchSteps(0.02, 0.01, 0.2, 100_000)
    full = empty_blocks(torch.ones(6, 4, 4, 4).bool())
    samples = march(*ray, torch.tensor([0.0]), torch.tensor([90.0]), full, REGION, steps)
    lengths = (samples.ends - samples.starts)[:-1].double()
    wanted = (0.01 * samples.starts[:-1].double()).clamp(0.02, 0.2)
    torch.testing.assert_close(lengths, wanted, rtol=0.011, atol=1e-4)


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rays_along_an_axis_cross_one_shell_twice(mode, axis, sign):
    centers = cell_centers(32, Bounds.cube())
    shell = ((centers.norm(dim=-1) - 0.6).abs() < 0.06)[None]
    origin, direction = torch.zeros(2, 3), torch.zeros(2, 3)
    origin[:, axis], direction[:, axis] = -3 * sign, sign
    origin[1, (axis + 1) % 3] = 1.5
    limits = torch.zeros(2), torch.full((2,), 10.0)
    with use(mode):
        samples = march(origin, direction, *limits, empty_blocks(shell), Bounds.cube(), MarchSteps(0.005))
    assert samples.offsets[1] == samples.offsets[2] == len(samples)
    torch.testing.assert_close((samples.midpoints - 3).abs().mean(), torch.tensor(0.6), atol=0.04, rtol=0)
    assert ((samples.midpoints - 3).abs() > 0.45).all()


def test_blocks_are_the_largest_aligned_empty_ones():
    grid = torch.zeros(1, 16, 16, 16, dtype=torch.bool)
    grid[0, 0, 0, 0] = True
    blocks = empty_blocks(grid)[0]
    assert blocks[0, 0, 0] == 0
    assert blocks[1, 0, 0] == 1
    assert blocks[2, 0, 0] == 2
    assert blocks[4, 3, 0] == 3
    assert blocks[8, 8, 8] == 4
    assert (empty_blocks(torch.zeros(1, 16, 16, 16).bool()) == 5).all()


def test_many_rays_in_several_rounds_are_those_of_one(monkeypatch):
    import onefield.kernels.cpu.march as kernel

    rays = random_rays(300)
    blocks = empty_blocks(random_grid(1, 16, 0.3))
    whole = march(*rays, blocks, REGION, MarchSteps(0.05))
    monkeypatch.setattr(kernel, "SCRATCH_BYTES", 2**20)
    parts = march(*rays, blocks, REGION, MarchSteps(0.05))
    for name in ("ray_indices", "starts", "ends", "offsets"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_odd_rays_end(mode):
    nan, inf = math.nan, math.inf
    origins = torch.tensor([[nan, 0, 0], [0, 0, 0], [0, 0, 0], [inf, 0, 0], [0, 0.5, 0.5]])
    directions = torch.tensor([[1.0, 0, 0], [nan, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]])
    near, far = torch.tensor([0.0, 0, 0, 0, 5]), torch.tensor([9.0, 9, 9, 9, 1])
    grid = empty_blocks(torch.zeros(1, 4, 4, 4).bool())
    with use(mode):
        assert len(march(origins, directions, near, far, grid, REGION, MarchSteps(0.1))) == 0
        assert len(march(origins[:0], directions[:0], near[:0], far[:0], grid, REGION, MarchSteps(0.1))) == 0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="smallest"):
        MarchSteps(0.0)
    with pytest.raises(UsageError, match="multiple of 4"):
        empty_blocks(torch.zeros(2, 6, 6, 6).bool())
