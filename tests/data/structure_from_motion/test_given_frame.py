"""A known similarity is found again among noise and gross errors, and refused where poses are of something else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from onefield.data.structure_from_motion.given_frame import frame_of, usable_pose

COUNT, SCALE = 30, 2.5
SHIFT = np.array([3.0, -1.0, 0.5])


def poses(seed=0):
    generator = np.random.default_rng(seed)
    turns = Rotation.random(COUNT, rng=generator).as_matrix()
    return np.concatenate([turns, generator.normal(size=(COUNT, 3, 1))], axis=2)


def moved(found, turn):
    centers = SCALE * found[:, :, 3] @ turn.T + SHIFT
    return np.concatenate([turn @ found[:, :, :3], centers[:, :, None]], axis=2)


TURN = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()


def test_exact_poses_give_the_exact_frame_though_a_third_are_wrong():
    found = poses()
    given = moved(found, TURN)
    given[::3] = poses(1)[::3]
    frame = frame_of(found, given)
    assert frame.scale == pytest.approx(SCALE, abs=1e-6)
    np.testing.assert_allclose(frame.turn, TURN, atol=1e-6)
    np.testing.assert_allclose(frame.shift, SHIFT, atol=1e-6)
    assert (frame.degrees, frame.distance) == pytest.approx((0, 0), abs=1e-4)


def test_noise_is_measured():
    found = poses()
    given = moved(found, TURN)
    generator = np.random.default_rng(2)
    axes, ways = (item / np.linalg.norm(item, axis=1, keepdims=True) for item in generator.normal(size=(2, COUNT, 3)))
    given[:, :, :3] = Rotation.from_rotvec(np.radians(1.0) * axes).as_matrix() @ given[:, :, :3]
    given[:, :, 3] += 0.05 * ways
    frame = frame_of(found, given)
    assert frame.degrees == pytest.approx(1.0, abs=0.1)
    assert frame.distance == pytest.approx(0.05, abs=0.01)
    assert np.degrees(Rotation.from_matrix(frame.turn.T @ TURN).magnitude()) < 0.4
    assert frame.scale == pytest.approx(SCALE, rel=0.01)


def test_poses_of_something_else_make_no_frame():
    found = poses()
    assert frame_of(found, poses(3)) is None
    same_place = moved(found, TURN)
    same_place[:, :, 3] = SHIFT
    assert frame_of(found, same_place) is None
    assert frame_of(found[:2], moved(found, TURN)[:2]) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_unusable_poses(value):
    pose = poses()[0]
    assert usable_pose(pose)
    pose[0, 0] = value
    assert not usable_pose(pose)
