"""The occupancy grid: what it learns, forgets, leaves out and saves."""

from __future__ import annotations

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import Material, MixtureField, SphereField
from onefield.renderers.sampling.intervals import points_on
from onefield.renderers.sampling.occupancy import OccupancySampler
from onefield.types import Bounds, Rays

BALL = SphereField(0.5, material=Material(density=50.0), domain=Bounds.cube(4.0))


def centers(side: int, half: float) -> torch.Tensor:
    axis = ((torch.arange(side) + 0.5) / side * 2 - 1) * half
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def train(sampler: OccupancySampler, field, steps: range) -> None:
    generator = torch.Generator().manual_seed(5)
    for step in steps:
        sampler.update(field, step, generator)


def looking_at_center(eye: tuple[float, float, float], focal: float = 100.0) -> Cameras:
    position = torch.tensor(eye, dtype=torch.float64)
    forward = -position / position.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64))
    right = right / right.norm()
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, position], dim=1)
    return Cameras.pinhole(pose[None], focal, (50.0, 50.0), 100, 100)


def test_all_cells_are_sampled_until_they_were_seen():
    sampler = OccupancySampler(Bounds.cube(), 16, cells_per_update=512)
    assert sampler.occupied.all()
    train(sampler, BALL, range(4))
    assert 0.4 < sampler.occupied.float().mean() < 1
    train(sampler, BALL, range(4, 8))
    assert torch.isfinite(sampler.thickness).all()


@pytest.mark.parametrize("cascades", [1, 3])
def test_occupied_cells_are_those_with_matter(cascades):
    sampler = OccupancySampler(Bounds.cube(), 16, cascades, step=0.01, cells_per_update=4096 * cascades)
    train(sampler, BALL, range(80))
    reach = 3**0.5 / 16
    distance = centers(16, 1.0).norm(dim=-1) - 0.5
    assert sampler.occupied[0][distance < -reach].all()
    assert not sampler.occupied[0][distance > reach].any()
    for level in range(1, cascades):
        outer = centers(16, 2.0**level).norm(dim=-1) - 0.5 > 3**0.5 * 2**level / 16
        assert not sampler.occupied[level][outer].any()
        inner = sampler.occupied[level][4:12, 4:12, 4:12]
        assert torch.equal(inner, torch.nn.functional.max_pool3d(sampler.occupied[level - 1][None].float(), 2)[0] > 0)


def test_grid_forgets_what_is_gone_and_finds_what_is_new():
    sampler = OccupancySampler(Bounds.cube(), 16, step=0.01, cells_per_update=4096)
    train(sampler, BALL, range(100))
    moved = SphereField(0.4, (0.5, 0.5, 0.5), Material(density=50.0))
    train(sampler, moved, range(100, 1800))
    points = centers(16, 1.0)
    assert not sampler.occupied[0][(points - 0.5).norm(dim=-1) > 0.55].any()
    assert sampler.occupied[0][(points - 0.5).norm(dim=-1) < 0.25].all()


def test_thin_uniform_fog_is_kept_at_the_start():
    class Fog(SphereField.__mro__[1]):
        def _distance(self, points):
            return torch.zeros_like(points[:, 0])

        def _matter(self, points, distance):
            return distance, 0.1 + 0.01 * torch.sin(points[:, 0] * 50)

    sampler = OccupancySampler(Bounds.cube(), 16, step=0.01, cells_per_update=4096)
    train(sampler, Fog(Material(), None), range(20))
    assert sampler.occupied.all()


def test_empty_field_keeps_all_cells_so_that_it_can_learn():
    sampler = OccupancySampler(Bounds.cube(), 8, cells_per_update=512)
    train(sampler, SphereField(0.1, (9.0, 9, 9)), range(20))
    assert sampler.occupied.all()


def test_what_no_camera_sees_is_left_out_for_good():
    sampler = OccupancySampler(Bounds.cube(), 48, cells_per_update=2**15)
    cameras = looking_at_center((4.0, 0.0, 0.0), focal=300.0)[torch.tensor([0, 0])]
    sampler.mark_invisible(cameras)
    points = centers(48, 1.0).double()
    pixels, depth = cameras.project(torch.tensor(0), points)
    seen = ((pixels > 0) & (pixels < 100)).all(-1) & (depth > 0)
    assert sampler.occupied[0][seen].all()
    assert sampler.occupied.float().mean() < 0.8
    before = sampler.occupied.clone()
    train(sampler, SphereField(3.0), range(6))
    assert torch.equal(sampler.occupied, before)


def test_what_a_single_camera_sees_is_sampled_only_behind_the_middle():
    sampler = OccupancySampler(Bounds.cube(), 48)
    cameras = looking_at_center((4.0, 0.0, 0.0), focal=300.0)
    sampler.mark_invisible(cameras)
    points = centers(48, 1.0).double()
    pixels, _ = cameras.project(torch.tensor(0), points)
    seen = ((pixels > 0) & (pixels < 100)).all(-1)
    # as far from the middle as a block's diagonal, which is kept or left out as one
    margin = 0.3
    distance = (points - cameras.positions[0]).norm(dim=-1)
    assert sampler.occupied[0][seen & (distance > 4)].all()
    assert not sampler.occupied[0][distance < 4 - margin].any()


def test_steps_are_coarse_until_space_is_cleared():
    sampler = OccupancySampler(Bounds.cube(), 16, step=0.01, cells_per_update=4096)
    rays = Rays(torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    first = sampler(rays, BALL).samples
    torch.testing.assert_close(first.ends[1] - first.starts[1], torch.tensor(0.04))
    train(sampler, BALL, range(80))
    # the ball of radius 0.5 fills 6.5 % of the cube, and the cells that it touches less than a quarter
    later = sampler(rays, BALL).samples
    torch.testing.assert_close(later.ends[1] - later.starts[1], torch.tensor(0.01), atol=1e-6, rtol=0)


def test_regions_that_no_camera_sees_at_all_are_an_error():
    sampler = OccupancySampler(Bounds((50.0, 50.0, 50.0), (51.0, 51.0, 51.0)), 8)
    with pytest.raises(UsageError, match="No camera sees"):
        sampler.mark_invisible(looking_at_center((4.0, 0.0, 0.0)))


def test_saved_grids_go_on_to_the_same_cells():
    field = MixtureField([SphereField(0.3, (0.4, 0, 0)), SphereField(0.3, (-0.4, 0, 0))])
    first = OccupancySampler(Bounds.cube(), 16, cells_per_update=1000)
    generator = torch.Generator().manual_seed(1)
    for step in range(300):
        first.update(field, step, generator)
    second = OccupancySampler(Bounds.cube(), 16, cells_per_update=1000)
    second.load_state_dict(first.state_dict())
    state = generator.get_state()
    other = torch.Generator()
    other.set_state(state)
    for step in range(300, 400):
        first.update(field, step, generator)
        second.update(field, step, other)
    assert torch.equal(first.thickness, second.thickness)
    assert torch.equal(first.blocks, second.blocks)


def test_samples_lie_in_occupied_space_and_jitter_moves_them():
    sampler = OccupancySampler(Bounds.cube(), 16, step=0.02, cells_per_update=4096)
    train(sampler, BALL, range(30))
    origins = torch.randn(50, 3) * 0.3 + torch.tensor([0.0, 0.0, -3.0])
    rays = Rays(origins, torch.tensor([0.0, 0, 1]).expand(50, 3))
    still = sampler(rays, BALL).samples
    assert len(still) > 500
    assert (points_on(rays, still).norm(dim=-1) < 0.5 + 3**0.5 / 8 + 1e-4).all()
    assert torch.equal(still.starts, sampler(rays, BALL).samples.starts)
    moved = sampler(rays, BALL, torch.Generator().manual_seed(2)).samples
    assert not torch.equal(moved.starts[:100], still.starts[:100])
    limited = Rays(origins, rays.directions, far=torch.full((50,), 3.0))
    assert (sampler(limited, BALL).samples.ends <= 3).all()


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="multiple of 4"):
        OccupancySampler(Bounds.cube(), 30)
