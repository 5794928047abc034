"""Camera paths, on captures whose best path is known."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from onefield.cameras import Cameras
from onefield.data.paths import (
    orbit_path,
    path_from_json,
    poses_between,
    spiral_path,
    suggested_path,
    views_path,
    write_path_json,
)
from onefield.data.scene import Similarity
from onefield.errors import DataError, UsageError


@dataclass(frozen=True)
class Captured:
    """As much of a scene as paths look at."""

    cameras: Cameras
    train_indices: torch.Tensor
    transform: Similarity


def looking(eyes, targets, up=(0.0, 0.0, 1.0)):
    eyes = np.asarray(eyes, dtype=float)
    forward = np.asarray(targets, dtype=float) - eyes
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward, eyes], -1)


def captured(poses, transform=None):
    cameras = Cameras.pinhole(torch.from_numpy(poses), (120.0, 110.0), (52.0, 38.0), 100, 80)
    return Captured(cameras, torch.arange(len(poses)), transform or Similarity.identity())


def ring(count, radius=2.5, elevation=0.4, start=0.0, span=2 * math.pi):
    angle = start + np.arange(count) / count * span
    flat = radius * math.cos(elevation)
    eyes = np.stack([flat * np.cos(angle), flat * np.sin(angle), np.full(count, radius * math.sin(elevation))], -1)
    return looking(eyes, np.zeros((count, 3)))


def facing(count=20):
    eyes = np.random.default_rng(0).uniform(-1, 1, (count, 3)) * [0.1, 0.3, 0.2] + [-2.0, 0.0, 0.0]
    return looking(eyes, eyes + np.array([1.0, 0.0, 0.0]))


PATHS = {
    "orbit": lambda frames: orbit_path(captured(ring(12)), frames),
    "arc": lambda frames: orbit_path(captured(ring(12, span=2.0)), frames),
    "spiral": lambda frames: spiral_path(captured(facing()), frames),
    "views": lambda frames: views_path(captured(ring(12)), frames),
}


@pytest.mark.parametrize("name", PATHS)
def test_every_path_is_rigid_level_and_without_jumps(name):
    cameras = PATHS[name](240)
    assert len(cameras) == 240
    rotation = cameras.camera_to_world[:, :, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand_as(rotation))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(240, dtype=torch.float64))
    assert (cameras.camera_to_world[:, 2, 0].abs() < 1e-6).all()  # the horizon is level
    assert (cameras.camera_to_world[:, 2, 1] < 0).all()  # and not upside down
    steps = cameras.positions.diff(dim=0).norm(dim=-1)
    assert steps.max() < 0.1
    assert (cameras.forwards.diff(dim=0).norm(dim=-1) < 0.1).all()
    torch.testing.assert_close(cameras.focal, torch.tensor([[120.0, 110.0]], dtype=torch.float64).expand(240, 2))
    assert cameras.center[0].tolist() == [50.0, 40.0]


def test_an_orbit_follows_the_height_and_distance_of_the_views():
    cameras = orbit_path(captured(ring(12)), 30)
    torch.testing.assert_close(cameras.positions.norm(dim=-1), torch.full((30,), 2.5, dtype=torch.float64))
    torch.testing.assert_close(cameras.positions[:, 2], torch.full((30,), 2.5 * math.sin(0.4), dtype=torch.float64))
    pixels, depth = cameras.project(torch.arange(30), torch.zeros(30, 3, dtype=torch.float64))
    torch.testing.assert_close(pixels, cameras.center)
    assert (depth > 0).all()
    azimuths = torch.atan2(cameras.positions[:, 1], cameras.positions[:, 0])
    steps = azimuths.diff() % (2 * math.pi)
    torch.testing.assert_close(steps, torch.full((29,), 2 * math.pi / 30, dtype=torch.float64))
    chosen = orbit_path(captured(ring(12)), 4, radius=4.0, elevation=0.0)
    torch.testing.assert_close(chosen.positions.norm(dim=-1), torch.full((4,), 4.0, dtype=torch.float64))
    assert (chosen.positions[:, 2] == 0).all()


def test_an_orbit_stays_on_the_side_that_was_seen():
    seen = ring(12, start=2.5, span=2.0)  # over the place where angles jump from pi to -pi
    cameras = orbit_path(captured(seen), 60)
    azimuths = torch.atan2(cameras.positions[:, 1], cameras.positions[:, 0]) % (2 * math.pi)
    last = 2.5 + 2.0 * 11 / 12
    assert azimuths.min().item() == pytest.approx(2.5, abs=1e-6)
    assert azimuths.max().item() == pytest.approx(last, abs=1e-2)


def test_an_orbit_of_views_from_straight_above_does_not_spin():
    eyes = np.random.default_rng(1).normal(size=(10, 3)) * 0.01 + [0, 0, 3.0]
    cameras = orbit_path(captured(looking(eyes, np.zeros((10, 3)), up=(0, 1, 0))), 12)
    assert torch.isfinite(cameras.camera_to_world).all()
    assert cameras.positions[:, :2].norm(dim=-1).min() > 0.4


def test_a_spiral_stays_among_the_views_and_looks_at_one_point():
    poses = facing()
    cameras = spiral_path(captured(poses), 48)
    positions = cameras.positions.numpy()
    assert (positions >= poses[:, :, 3].min(0) - 0.05).all()
    assert (positions <= poses[:, :, 3].max(0) + 0.05).all()
    assert np.ptp(positions[:, 1]) > 0.3
    directions = cameras.forwards.numpy()
    projectors = np.eye(3) - directions[:, :, None] * directions[:, None]
    point = np.linalg.solve(projectors.sum(0), np.einsum("nij,nj->i", projectors, positions))
    away = np.linalg.norm(np.einsum("nij,nj->ni", projectors, point - positions), axis=1)
    assert away.max() < 1e-9
    assert abs(point[0]) < 0.05  # the middle of the region of interest


def test_the_path_through_views_meets_every_view_in_order():
    poses = ring(9, span=4.0)
    cameras = views_path(captured(poses), 8 * 10 + 1)
    torch.testing.assert_close(cameras.camera_to_world[::10], torch.from_numpy(poses), atol=1e-9, rtol=0)


def test_a_straight_line_of_views_is_flown_straight_and_evenly():
    eyes = np.stack([np.array([0.0, 1.0, 3.0, 4.0, 8.0]), np.zeros(5), np.zeros(5)], -1)
    cameras = views_path(captured(looking(eyes, eyes + np.array([0.0, 1.0, 0.0]))), 33)
    torch.testing.assert_close(cameras.positions[:, 0], torch.linspace(0, 8, 33, dtype=torch.float64))


def test_views_that_jump_about_are_ordered_by_neighbourhood():
    poses = ring(24, span=5.0)
    shuffled = poses[np.concatenate([[0], 1 + np.random.default_rng(3).permutation(23)])]
    cameras = views_path(captured(shuffled), 24)
    torch.testing.assert_close(cameras.positions, torch.from_numpy(poses[:, :, 3]), atol=1e-6, rtol=0)


def test_of_very_many_views_some_are_flown_through():
    poses = ring(2001, span=3.0)
    cameras = views_path(captured(poses), 3)
    torch.testing.assert_close(cameras.camera_to_world[[0, 2]], torch.from_numpy(poses[[0, -1]]), atol=1e-9, rtol=0)


def test_few_views_make_a_path_too():
    alone = ring(1)
    torch.testing.assert_close(
        views_path(captured(alone), 3).camera_to_world, torch.from_numpy(np.repeat(alone, 3, axis=0))
    )
    turning = looking(np.zeros((2, 3)), [[1.0, 0, 0], [0, 1.0, 0]])
    middle = views_path(captured(turning), 3).forwards[1]
    torch.testing.assert_close(middle, torch.tensor([0.5**0.5, 0.5**0.5, 0.0], dtype=torch.float64))


def test_the_kind_of_capture_suggests_the_path():
    assert suggested_path(captured(ring(20))) == "orbit"
    assert suggested_path(captured(facing())) == "spiral"


def test_a_file_in_the_frame_of_the_dataset_is_brought_into_the_scene(tmp_path):
    turn = torch.from_numpy(looking([[0.0, 0, 0]], [[1.0, 2, 0]])[0, :, :3])
    transform = Similarity(0.5, turn, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    scene = captured(ring(4), transform)
    poses = ring(3, start=1.0)
    file = tmp_path / "path.json"
    views = [{"camera_to_world": pose.tolist()} for pose in poses]
    views[1]["vertical_fov"] = 90
    file.write_text(json.dumps({"views": views, "width": 64, "height": 48}))
    cameras = path_from_json(file, scene)
    expected = transform.apply_poses(torch.from_numpy(poses))
    torch.testing.assert_close(cameras.camera_to_world, expected)
    assert (cameras.width[0], cameras.height[0]) == (64, 48)
    assert cameras.focal[1].tolist() == pytest.approx([24.0, 24.0])
    assert cameras.focal[0].tolist() == pytest.approx([110.0 * 48 / 80] * 2)  # the training views' angle
    file.write_text(json.dumps({"views": views, "frame": "scene"}))
    torch.testing.assert_close(path_from_json(file, scene).camera_to_world, torch.from_numpy(poses))


def test_axes_of_opengl_and_nerfstudio_are_turned(tmp_path):
    poses = ring(2)
    opengl = np.concatenate([poses, np.broadcast_to([[[0, 0, 0, 1.0]]], (2, 1, 4))], 1) @ np.diag([1.0, -1, -1, 1])
    plain, foreign = tmp_path / "plain.json", tmp_path / "camera_path.json"
    plain.write_text(json.dumps({"axes": "opengl", "views": [{"camera_to_world": m.tolist()} for m in opengl]}))
    steps = [{"camera_to_world": m.reshape(-1).tolist(), "fov": 60, "aspect": 1.5} for m in opengl]
    foreign.write_text(json.dumps({"camera_path": steps, "render_width": 30, "render_height": 20, "fps": 24}))
    for file in (plain, foreign):
        cameras = path_from_json(file, captured(ring(4)))
        torch.testing.assert_close(cameras.camera_to_world, torch.from_numpy(poses))
    assert cameras.focal[0, 1].item() == pytest.approx(10 / math.tan(math.radians(30)))


GOOD = {"camera_to_world": np.eye(4).tolist()}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"views": []}, "no views"),
        ({}, "'views' must be a list"),
        ({"view": [GOOD]}, "unknown key 'view': did you mean 'views'"),
        ({"views": [{**GOOD, "fovy": 3}]}, r"views\[0\]: unknown key 'fovy'"),
        ({"views": [{"camera_to_world": np.eye(3).tolist()}]}, "4x4 or 3x4"),
        ({"views": [{"camera_to_world": (2 * np.eye(4)).tolist()}]}, "must hold a rotation"),
        ({"views": [{"camera_to_world": np.diag([1, 1, -1, 1]).tolist()}]}, "must hold a rotation"),
        ({"views": [GOOD], "axes": "opncv"}, "did you mean 'opencv'"),
        ({"views": [GOOD], "vertical_fov": 180}, "between 0.001 and 180"),
        ({"views": [GOOD], "vertical_fov": 1e-320}, "between 0.001 and 180"),
        ({"views": [GOOD], "width": 0}, "whole number of pixels"),
        ({"views": [GOOD], "width": 1e308}, "whole number of pixels from 1 to 65536"),
    ],
)
def test_a_broken_file_is_explained(tmp_path, document, words):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=words) as caught:
        path_from_json(file, captured(ring(4)))
    assert str(file) in str(caught.value)


def test_no_frames_are_refused():
    for path in (orbit_path, spiral_path, views_path):
        with pytest.raises(UsageError, match="at least 1 frame"):
            path(captured(ring(4)), 0)
    with pytest.raises(UsageError, match="radius > 0"):
        orbit_path(captured(ring(4)), 3, radius=0.0)
    with pytest.raises(UsageError, match="angle in radians, got nan"):
        orbit_path(captured(ring(4)), 3, elevation=float("nan"))


def test_a_written_path_is_read_back_as_the_same_views(tmp_path):
    turned = Similarity.about(torch.tensor([5.0, -2.0, 7.0]), 0.25, torch.tensor(TURNED))
    scene = captured(ring(6), turned)
    write_path_json(tmp_path / "path.json", scene, ring(4), math.radians(50))
    back = path_from_json(tmp_path / "path.json", scene)
    torch.testing.assert_close(back.camera_to_world, torch.from_numpy(ring(4)), atol=1e-9, rtol=0)
    assert (int(back.width[0]), int(back.height[0])) == (100, 80)
    torch.testing.assert_close(back.focal, torch.full((4, 2), 40 / math.tan(math.radians(25)), dtype=torch.float64))


def test_the_way_between_poses_starts_and_ends_with_them():
    poses = ring(5)
    way = poses_between(poses, 33)
    np.testing.assert_allclose(way[[0, -1]], poses[[0, -1]], atol=1e-9)
    assert np.abs(np.diff(way[:, :, 3], axis=0)).max() < 0.5
    np.testing.assert_allclose(poses_between(poses[:1], 3), np.repeat(poses[:1], 3, axis=0))


TURNED = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
