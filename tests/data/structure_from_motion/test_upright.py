"""Up is found again after the world was turned at random, with photos on their side, and from the ground."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from onefield.data.structure_from_motion.upright import AXES, find_up, turn_upright

NONE = np.zeros((0, 3))


def angle(first, second):
    return np.degrees(np.arccos(np.clip(first @ second, -1, 1)))


def cameras(count=20, sideways=0, spread=360.0, roll=2.0, seed=0):
    """Around the origin, 10 to 40 degrees above it, looking at it; some turned by a quarter about their axis."""
    generator = np.random.default_rng(seed)
    poses = []
    for index in range(count):
        azimuth = np.radians(spread * index / count)
        height = np.radians(generator.uniform(10, 40))
        eye = 4 * np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
        forward = -eye / np.linalg.norm(eye)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(forward, right), forward], axis=1)
        turn = generator.normal(0, roll) + (90 if index < sideways else 0)
        poses.append(np.column_stack([frame @ Rotation.from_euler("z", turn, degrees=True).as_matrix(), eye]))
    return np.stack(poses)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("sideways", "spread"), [(0, 360.0), (8, 360.0), (0, 60.0), (6, 120.0)])
def test_cameras_tell(seed, sideways, spread):
    world = Rotation.random(rng=seed).as_matrix()
    poses = np.einsum("ij,cjk->cik", world, cameras(sideways=sideways, spread=spread, seed=seed))
    up = find_up(poses, NONE)
    assert angle(up.direction, world[:, 2]) < 3
    assert up.source == "cameras"


def test_the_ground_corrects_tilted_cameras():
    generator = np.random.default_rng(2)
    ground = np.column_stack([generator.uniform(-3, 3, (500, 2)), generator.normal(-1, 0.01, 500)])
    thing = generator.uniform(-1, 1, (500, 3))
    tilt = Rotation.from_euler("x", 8, degrees=True).as_matrix()
    poses = cameras()
    poses[:, :, :3] = poses[:, :, :3] @ tilt.T
    leaning = np.einsum("ij,cjk->cik", tilt, cameras())
    up = find_up(leaning, np.concatenate([ground, thing]))
    assert up.source == "cameras and ground"
    assert angle(up.direction, np.array([0, 0, 1.0])) < 1


def test_a_ceiling_or_a_wall_is_no_ground():
    generator = np.random.default_rng(2)
    flat = generator.uniform(-3, 3, (500, 2))
    thing = generator.uniform(-1, 1, (500, 3))
    for plane in (np.column_stack([flat, np.full(500, 5.0)]), np.column_stack([np.full(500, -3.0), flat])):
        assert find_up(cameras(), np.concatenate([plane, thing])).source == "cameras"


@pytest.mark.parametrize("direction", [[0, 0, 1], [0, 0, -1], [0.6, 0, 0.8], [0, -1, 0]])
@pytest.mark.parametrize("axis", AXES)
def test_turning_is_a_rotation_that_ends_with_the_wanted_axis_up(direction, axis):
    direction = np.array(direction, dtype=float)
    turn, upright = turn_upright(direction, axis), turn_upright(direction)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(upright @ direction, [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(turn @ upright.T @ np.array(AXES[axis]), [0, 0, 1], atol=1e-9)
