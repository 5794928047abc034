import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.cameras import Cameras, Picture
from onefield.errors import UsageError

BROWN = [0.12, -0.05, 0.002, -0.003, 0.01, 0.03, -0.02, 0.004]
FISHEYE = [0.03, -0.01, 0.004, -0.001, 0.0, 0.0, 0.0, 0.0]


def look_at(position: list[float], target: list[float]) -> torch.Tensor:
    """An OpenCV pose with the world's z axis up."""
    eye = torch.tensor(position, dtype=torch.float64)
    forward = torch.nn.functional.normalize(torch.tensor(target, dtype=torch.float64) - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, forward.new_tensor([0.0, 0.0, 1.0])), dim=0)
    return torch.stack([right, torch.linalg.cross(forward, right), forward, eye], dim=1)


def three_cameras() -> Cameras:
    poses = torch.stack([look_at(p, [0.0, 0.0, 0.0]) for p in ([3.0, 0.2, 1.0], [-2.0, 2.0, 0.5], [0.1, -3.0, 2.0])])
    cameras = Cameras.pinhole(poses, [610.0, 590.0], [322.5, 238.0], 640, 480)
    distortion = torch.tensor([[0.0] * 8, BROWN, FISHEYE], dtype=torch.float64)
    return Cameras(
        poses, cameras.focal, cameras.center, cameras.width, cameras.height, distortion,
        torch.tensor([False, False, True]),
    )  # fmt: skip


def projected_by_hand(camera: Cameras, point: torch.Tensor) -> tuple[float, float]:
    """One point through one camera, written out from OpenCV's documentation with scalars."""
    rotation, position = camera.camera_to_world[0, :, :3], camera.camera_to_world[0, :, 3]
    x, y, z = (rotation.T @ (point - position)).tolist()
    k = camera.distortion[0].tolist()
    if bool(camera.fisheye[0]):
        r = math.hypot(x, y)
        t = math.atan2(r, z)
        d = t + k[0] * t**3 + k[1] * t**5 + k[2] * t**7 + k[3] * t**9
        u, v = d * x / r, d * y / r
    else:
        a, b = x / z, y / z
        r2 = a * a + b * b
        radial = (1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3) / (1 + k[5] * r2 + k[6] * r2**2 + k[7] * r2**3)
        u = a * radial + 2 * k[2] * a * b + k[3] * (r2 + 2 * a * a)
        v = b * radial + k[2] * (r2 + 2 * b * b) + 2 * k[3] * a * b
    (fx, fy), (cx, cy) = camera.focal[0].tolist(), camera.center[0].tolist()
    return fx * u + cx, fy * v + cy


@pytest.mark.parametrize("index", [0, 1, 2])
def test_projection_is_opencvs_formula(index):
    cameras = three_cameras()
    points = torch.rand(20, 3, dtype=torch.float64) - 0.5
    pixels, depth = cameras.project(torch.tensor(index), points)
    expected = torch.tensor([projected_by_hand(cameras[index], p) for p in points], dtype=torch.float64)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-9)
    axis, eye = cameras.forwards[index], cameras.positions[index]
    torch.testing.assert_close(depth, (points - eye) @ axis)


def test_rays_pass_through_what_their_pixels_show():
    cameras = three_cameras()
    count = 400
    index = torch.randint(0, 3, (count,))
    pixels = torch.rand(count, 2, dtype=torch.float64) * torch.tensor([640.0, 480.0])
    rays = cameras.rays(index, pixels)
    assert rays.directions.dtype == torch.float32
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(count))
    assert torch.equal(rays.camera_indices, index)
    distance = torch.linspace(0.5, 6.0, count, dtype=torch.float64).unsqueeze(-1)
    points = cameras.positions[index] + distance * rays.directions.double()
    again, _ = cameras.project(index, points)
    assert (again - pixels).abs().max() < 1.5e-4


def test_centre_pixel_of_an_odd_image_looks_along_the_axis():
    camera = Cameras.pinhole(look_at([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).unsqueeze(0), 20.0, [3.5, 2.5], 7, 5)
    rays = camera.image_rays(0)
    assert len(rays) == 35
    torch.testing.assert_close(rays.directions[2 * 7 + 3].double(), camera.forwards[0], atol=1e-7, rtol=0)
    # Row-major: the next ray lies to the right, a row further down.
    right, down = camera.camera_to_world[0, :, 0], camera.camera_to_world[0, :, 1]
    assert (rays.directions[2 * 7 + 4].double() @ right) > 0.04
    assert (rays.directions[3 * 7 + 3].double() @ down) > 0.04


def test_a_fisheye_sees_behind_itself():
    camera = three_cameras()[2]
    theta = math.radians(110)
    local = torch.tensor([math.sin(theta), 0.0, math.cos(theta)], dtype=torch.float64)
    point = camera.positions[0] + camera.camera_to_world[0, :, :3] @ local
    pixels, depth = camera.project(torch.tensor([0]), point.unsqueeze(0))
    assert depth.item() < 0
    ray = camera.rays(torch.tensor([0]), pixels)
    torch.testing.assert_close(ray.directions[0].double(), point - camera.positions[0], atol=1e-6, rtol=0)


def test_what_lies_right_beside_a_fisheye_has_a_gradient():
    camera = replace(three_cameras()[2], camera_to_world=torch.eye(3, 4, dtype=torch.float64)[None])
    beside = torch.tensor([[0.6, -0.8, 0.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda point: camera.project(torch.tensor(0), point), (beside,))
    assert torch.autograd.gradcheck(camera.linearised, (beside,))


def test_strong_barrel_distortion_does_not_fold_far_points_into_the_picture():
    base = three_cameras()[0]
    barrel = torch.tensor([[-0.3] + [0.0] * 7], dtype=torch.float64)
    camera = Cameras(base.camera_to_world, base.focal, base.center, base.width, base.height, barrel, base.fisheye)
    point = camera.positions + 1.0 * camera.forwards + 1.8 * camera.camera_to_world[:, :, 0]
    pixels, _ = camera.project(torch.tensor([0]), point)
    assert pixels[0, 0] > 640
    corner = camera.rays(torch.tensor([0, 0]), torch.tensor([[0.0, 0.0], [5000.0, 5000.0]]))
    assert torch.isfinite(corner.directions).all()


def test_resizing_keeps_what_each_image_fraction_sees():
    cameras = three_cameras()
    small = cameras.resized(213, 120)
    assert small.width.tolist() == [213] * 3
    assert small.height.tolist() == [120] * 3
    fraction = torch.rand(3, 2, dtype=torch.float64)
    index = torch.arange(3)
    large_rays = cameras.rays(index, fraction * torch.tensor([640.0, 480.0]))
    small_rays = small.rays(index, fraction * torch.tensor([213.0, 120.0]))
    torch.testing.assert_close(large_rays.directions, small_rays.directions)
    assert cameras.scaled(0.3334).width.tolist() == [213] * 3
    with pytest.raises(UsageError, match="at least 1 x 1"):
        cameras.resized(0, 4)


def test_positions_far_from_the_origin_keep_their_digits():
    camera = three_cameras()[1]
    shift = torch.tensor([5.0e5, 5.0e6, 100.0], dtype=torch.float64)
    pose = camera.camera_to_world.clone()
    pose[:, :, 3] += shift
    far = Cameras(pose, camera.focal, camera.center, camera.width, camera.height, camera.distortion, camera.fisheye)
    points = torch.rand(5, 3, dtype=torch.float64) - 0.5
    near_pixels, _ = camera.project(torch.tensor(0), points)
    far_pixels, _ = far.project(torch.tensor(0), points + shift)
    torch.testing.assert_close(near_pixels, far_pixels, atol=1e-5, rtol=0)


def test_selection_and_concatenation():
    cameras = three_cameras()
    assert len(cameras[1]) == 1
    assert torch.equal(cameras[-1].fisheye, torch.tensor([True]))
    assert len(cameras[1:]) == 2
    for number in (np.int64(1), torch.tensor(1)):
        assert torch.equal(cameras[number].focal, cameras.focal[1:2])
    both = Cameras.concatenate([cameras[torch.tensor([2, 0])], cameras[1]])
    assert torch.equal(both.distortion, cameras.distortion[[2, 0, 1]])
    with pytest.raises(UsageError, match="no view 3"):
        cameras[3]


@pytest.mark.parametrize(
    ("pose", "focal", "width", "words"),
    [
        (torch.eye(4)[None], 20.0, 8, r"\(C, 3, 4\), got \(1, 4, 4\)"),
        (torch.eye(3, 4), 20.0, 8, r"got \(3, 4\)"),
        (torch.eye(3, 4)[None], 0.0, 8, "positive focal lengths"),
        (torch.eye(3, 4)[None], math.nan, 8, "positive focal lengths"),
        (torch.eye(3, 4)[None], 20.0, 0, "at least 1 x 1"),
    ],
)
def test_a_pinhole_that_sees_nothing_is_refused(pose, focal, width, words):
    with pytest.raises(UsageError, match=words):
        Cameras.pinhole(pose, focal, (4.0, 4.0), width, 8)


def test_wrong_shapes_are_named():
    base = three_cameras()
    with pytest.raises(UsageError, match="distortion of shape"):
        replace(base, distortion=base.distortion[:, :4])


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("skewed", [False, True])
def test_a_linearised_projection_has_the_projections_value_and_slope(index, skewed):
    camera = three_cameras()[index]
    if skewed:
        camera = replace(camera, skew=torch.tensor([3.0], dtype=torch.float64))
    points = torch.rand(30, 3, dtype=torch.float64) - 0.5
    points[0] = camera.positions[0] + 2 * camera.forwards[0]  # on the axis
    pixels, depth, jacobians = camera.linearised(points)
    truth, along = camera.project(torch.tensor([0]), points)
    torch.testing.assert_close(pixels, truth, rtol=0, atol=1e-9)
    if index < 2:
        torch.testing.assert_close(depth, along)
    else:
        torch.testing.assert_close(depth, (points - camera.positions[0]).norm(dim=-1))
    step = 1e-5
    for axis in range(3):
        offset = torch.zeros(3, dtype=torch.float64)
        offset[axis] = step
        high, low = (camera.project(torch.tensor([0]), points + sign * offset)[0] for sign in (1, -1))
        torch.testing.assert_close(jacobians[:, :, axis], (high - low) / (2 * step), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_linearised_projection_is_differentiated_right(index):
    camera = three_cameras()[index]
    points = (torch.rand(4, 3, dtype=torch.float64) - 0.5).requires_grad_(True)
    pose = camera.camera_to_world.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda moved, where: replace(camera, camera_to_world=moved).linearised(where), (pose, points)
    )


def test_a_linearised_projection_is_held_beyond_the_picture_and_finite_behind_it():
    camera = three_cameras()[0]
    right, forward, eye = camera.camera_to_world[0, :, 0], camera.forwards[0], camera.positions[0]
    points = torch.stack([eye + forward + 5 * right, eye + forward + 9 * right, eye - forward, eye])
    pixels, depth, jacobians = camera.linearised(points)
    # sideways motion towards the camera counts as at the margin for both
    torch.testing.assert_close(jacobians[0], jacobians[1])
    assert pixels[1, 0] > pixels[0, 0]
    assert depth[2] == depth[3] == 0
    assert torch.isfinite(jacobians).all()
    assert torch.isfinite(pixels).all()
    with pytest.raises(UsageError, match="batch has 3"):
        three_cameras().linearised(points)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_window_of_a_picture_sees_what_the_picture_sees_there(index):
    whole = three_cameras()[index].resized(64, 48)
    window = whole.cropped(10, 5, 20, 7)
    rays, part = whole.image_rays(0), window.image_rays(0)
    assert part.shape == (7, 20)
    expected = rays.directions.reshape(48, 64, 3)[5:12, 10:30].reshape(-1, 3)
    torch.testing.assert_close(part.directions, expected, atol=2e-6, rtol=0)


def test_a_picture_knows_its_rays_and_its_camera():
    cameras = three_cameras().resized(6, 4)
    picture = cameras.image_rays(1)
    assert isinstance(picture, Picture)
    assert picture.shape == (4, 6)
    assert set(picture.camera_indices.tolist()) == {1}
    some = picture[3:5]
    assert not isinstance(some, Picture)
    assert torch.equal(some.directions, picture.directions[3:5])
    assert isinstance(picture.to("cpu"), Picture)
    moved = replace(picture.camera, camera_to_world=picture.camera.camera_to_world.clone().requires_grad_(True))
    assert not replace(picture, camera=moved).detach().camera.camera_to_world.requires_grad
    with pytest.raises(UsageError, match="a ray for each"):
        replace(picture, camera=picture.camera.resized(5, 4))
