import numpy as np
import torch

from onefield.data.normalisation import extent_scale, place, upright_rotation


def ring(count: int, radius: float, center: np.ndarray, tilt: np.ndarray | None = None) -> np.ndarray:
    """Cameras around a centre and above it, looking at it; the whole scene turned by ``tilt``."""
    poses = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        eye = radius * np.array([np.cos(angle), np.sin(angle), 0.4])
        forward = -eye / np.linalg.norm(eye)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
        pose = pose if tilt is None else tilt @ pose
        pose[:, 3] += center
        poses.append(pose)
    return np.stack(poses)


TANGENTS = np.full(12, 0.5)


def test_the_meeting_point_becomes_the_origin():
    center = np.array([5e5, 5e6, 50.0])
    placement = place(ring(12, 4.0, center), TANGENTS, None, None, True)
    assert placement.similarity.apply(torch.from_numpy(center)).abs().max() < 1e-6
    distance = 4.0 * np.hypot(1, 0.4)
    # What fills the picture: the tangent times the distance.
    assert abs(placement.similarity.scale - 1 / (0.5 * distance)) < 1e-9
    assert not placement.up_estimated


def test_up_is_found_from_the_cameras():
    tilt = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    tilt *= np.sign(np.linalg.det(tilt))
    poses = ring(12, 4.0, np.zeros(3), tilt=tilt)
    rotation, estimated = upright_rotation(poses)
    assert estimated
    np.testing.assert_allclose(rotation @ tilt @ [0, 0, 1], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    upside_down = np.diag([1.0, -1.0, -1.0]) @ ring(12, 4.0, np.zeros(3))
    np.testing.assert_allclose(upright_rotation(upside_down)[0] @ [0, 0, -1], [0, 0, 1], atol=1e-9)


def test_points_at_the_meeting_point_set_the_size():
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    background = np.random.default_rng(1).normal(size=(4000, 3)) * 100
    placement = place(ring(12, 4.0, np.zeros(3)), TANGENTS, np.concatenate([points, background]), None, True)
    half = 1 / placement.similarity.scale
    assert 0.95 < half < 1.3


def test_a_forward_facing_capture_is_centred_between_its_depths():
    generator = np.random.default_rng(2)
    poses = np.tile(np.eye(4)[:3], (9, 1, 1))
    poses[:, :2, 3] = generator.uniform(-0.5, 0.5, (9, 2))
    placement = place(poses, TANGENTS[:9], None, (4.0, 12.0), False)
    middle = poses[:, :, 3].mean(axis=0) + np.array([0, 0, 6.0])
    assert placement.similarity.apply(torch.from_numpy(middle)).abs().max() < 1e-9
    corners = torch.tensor([[1.0, 1.0, 4.0], [-3.0, 3.0, 6.0]], dtype=torch.float64)
    assert placement.similarity.apply(corners).abs().max() < 1.0
    # The cameras look along y of a world whose z is up.
    turned = placement.similarity.rotation.numpy() @ np.array([0, -1.0, 0])
    np.testing.assert_allclose(turned, [0, 0, 1], atol=1e-9)


def test_a_walk_through_a_room_keeps_its_cameras_inside():
    poses = ring(12, 2.0, np.zeros(3))
    poses[:, :, :3] *= [-1, 1, -1]
    placement = place(poses, TANGENTS, None, None, True)
    inside = placement.similarity.apply(torch.from_numpy(poses[:, :, 3]))
    assert inside.abs().max() < 1.0
    assert inside.abs().max() > 0.5


def test_extent_is_the_power_of_two_that_holds_nearly_all():
    positions = np.concatenate([np.full((99, 3), 1.7), [[900.0, 0, 0]]])
    assert extent_scale(positions, None) == 2.0
    assert extent_scale(np.full((4, 3), 0.2), None) == 1.0
    assert extent_scale(positions, np.full((50, 3), 5.0)) == 8.0
