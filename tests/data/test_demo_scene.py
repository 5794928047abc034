"""The demo scene: rays stop on its solids, and its files say where the pictures were taken."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from onefield.data import demo_scene
from onefield.data.demo_scene import (
    CAMERA_RADIUS,
    FIELD_OF_VIEW,
    demo_cameras,
    demo_distance,
    render_demo,
    write_demo_scene,
)
from onefield.errors import UsageError

LEAST_COVER, MOST_COVER = 0.25, 0.7  # shares of the picture


@pytest.fixture(scope="module")
def rays():
    generator = np.random.default_rng(0)
    origins = generator.normal(size=(3, 4000))
    origins *= CAMERA_RADIUS / np.linalg.norm(origins, axis=0)
    directions = generator.uniform(-0.8, 0.8, size=(3, 4000)) - origins
    return origins.astype(np.float32), (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)


def test_hits_lie_on_the_surface_and_nothing_lies_before_them(rays):
    origins, directions = rays
    travelled, _ = demo_scene._first_hits(origins, directions)
    met = np.isfinite(travelled)
    assert 0.3 < met.mean() < 0.9
    at = origins[:, met] + travelled[met] * directions[:, met]
    assert np.abs(demo_distance(at.T)).max() < 1e-4
    steps = np.linspace(0.0, 1.0, 100)[:, None, None]
    last = np.where(met, travelled - 1e-3, 2 * CAMERA_RADIUS)
    along = origins.T + steps * last[:, None] * directions.T
    assert demo_distance(along).min() > -5e-4  # rays that graze an edge, in single precision


def test_normals_are_the_gradient_of_the_distance(rays):
    for shape in demo_scene._SHAPES:
        origins, directions = (shape.to_local(rays[0]), shape.rotation().T @ rays[1])
        travelled = shape.hit(origins, directions)
        met = np.isfinite(travelled)
        assert met.any()
        at = (origins[:, met] + travelled[met] * directions[:, met]).astype(np.float64)
        step = 1e-5
        outside = at + 1e-3 * shape.normal(at)  # where the distance is exact, and smooth but at few points
        axes = step * np.eye(3)[..., None]
        slope = np.stack([shape.distance(outside + axis) - shape.distance(outside - axis) for axis in axes])
        agreement = (slope / (2 * step) * shape.normal(at)).sum(0)
        assert np.quantile(agreement, 0.02) > 0.999, shape


def test_the_whole_scene_lies_in_the_unit_cube():
    outside = np.random.default_rng(1).uniform(-2, 2, size=(20000, 3))
    outside = outside[np.abs(outside).max(-1) > 1]
    assert demo_distance(outside).min() > 0


def test_a_ball_appears_where_its_centre_projects():
    pose, size = demo_cameras(40)[5], 96
    picture = render_demo(pose, size)
    red, green, blue = (picture[..., k] for k in range(3))
    purple = (picture[..., 3] == 1) & (blue > green + 0.05) & (red > green + 0.05)
    rows, columns = np.nonzero(purple)
    ball = np.array(demo_scene._SHAPES[-1].center)
    x, y, z = pose[:3, :3].T @ (ball - pose[:3, 3])
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    expected = (size / 2 + focal * x / -z, size / 2 - focal * y / -z)
    radius = focal * demo_scene._SHAPES[-1].radius / -z
    assert purple.sum() == pytest.approx(math.pi * radius**2, rel=0.2)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(expected, abs=0.6)


def test_poses_are_rigid_and_look_at_the_scene():
    poses = demo_cameras(17)
    rotation = poses[:, :3, :3]
    identity = np.broadcast_to(np.eye(3), (17, 3, 3))
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-12)
    hit = poses[:, :3, 3] - CAMERA_RADIUS * poses[:, :3, 2]
    np.testing.assert_allclose(hit, np.broadcast_to(demo_scene._LOOKED_AT, (17, 3)), atol=1e-12)
    assert (poses[:, 2, 3] > 0).all()


def test_files_hold_the_pictures_of_their_poses(tmp_path):
    folder = write_demo_scene(tmp_path / "demo", views=8, size=20)
    splits = {split: json.loads((folder / f"transforms_{split}.json").read_text()) for split in ("train", "test")}
    assert [len(splits[split]["frames"]) for split in ("train", "test")] == [7, 1]
    poses = [f["transform_matrix"] for split in splits.values() for f in split["frames"]]
    assert sorted(poses) == sorted(demo_cameras(8).tolist())
    for document in splits.values():
        assert document["camera_angle_x"] == FIELD_OF_VIEW
        for frame in document["frames"]:
            stored = np.asarray(Image.open(folder / f"{frame['file_path']}.png"))
            expected = render_demo(np.array(frame["transform_matrix"]), 20)
            np.testing.assert_allclose(stored / 255, expected, atol=0.5 / 255 + 1e-6)
            assert LEAST_COVER < (stored[..., 3] > 127).mean() < MOST_COVER


def test_too_few_views_are_refused(tmp_path):
    with pytest.raises(UsageError, match="8 views"):
        write_demo_scene(tmp_path, views=3)
