"""Rasterisation: coverage, depth order and perspective against hand-made truths and against the reference."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.rasterize import rasterize

MODES = pytest.mark.parametrize("mode", ["fast", "reference"])
# focal length 1 pixel at depth 1: x and y of the vertices are pixels
PIXELS = (1.0, 1.0, 0.0, 0.0)


def flat(corners, depth=1.0):
    return torch.tensor([[x * depth, y * depth, depth] for x, y in corners])


@MODES
def test_a_triangle_covers_exactly_the_centres_inside_it(mode):
    vertices = flat([(1, 1), (9, 2), (4, 8)])
    with use(mode):
        found, weights, depth = rasterize(vertices, torch.tensor([[0, 1, 2]]), PIXELS, 10, 9)
    for row in range(9):
        for column in range(10):
            x, y = column + 0.5, row + 0.5
            inside = 8 * (y - 1) - (x - 1) >= 0 and -5 * (y - 2) - 6 * (x - 9) >= 0 and -3 * (y - 8) + 7 * (x - 4) >= 0
            assert (int(found[row, column]) == 0) == inside, (row, column)
            if inside:
                assert weights[row, column] @ vertices[:, :2] == pytest.approx([x, y], abs=1e-5)
                assert float(depth[row, column]) == pytest.approx(1.0, abs=1e-6)
            else:
                assert depth[row, column] == 0


@MODES
def test_the_nearer_face_is_seen_in_any_order_and_from_both_sides(mode):
    square = [(0, 0), (8, 0), (0, 8)]
    vertices = torch.cat((flat(square, 2.0), flat(square, 1.5)))
    for faces, nearer in (([[0, 1, 2], [3, 4, 5]], 1), ([[3, 5, 4], [0, 1, 2]], 0)):
        with use(mode):
            found, _, depth = rasterize(vertices, torch.tensor(faces), PIXELS, 4, 4)
        assert (found == nearer).all()
        assert torch.allclose(depth, torch.tensor(1.5))


@MODES
def test_weights_are_perspective_correct(mode):
    """A floor that runs away from the camera: depth and weights follow the ray, not the picture."""
    vertices = torch.tensor([[-5.0, 1.0, 1.0], [5.0, 1.0, 1.0], [0.0, 1.0, 21.0]])
    with use(mode):
        found, weights, depth = rasterize(vertices, torch.tensor([[0, 1, 2]]), (20.0, 20.0, 10.0, 10.0), 20, 20)
    row = 14
    expected = 20 / (row + 0.5 - 10)
    assert found[row, 10] == 0
    assert float(depth[row, 10]) == pytest.approx(expected, rel=1e-5)
    assert float(weights[row, 10, 2]) == pytest.approx((expected - 1) / 20, rel=1e-5)


@MODES
def test_faces_that_reach_behind_the_camera_are_cut_there(mode):
    vertices = torch.tensor([[-4.0, 1.0, -3.0], [4.0, 1.0, -3.0], [0.0, 1.0, 9.0], [0.0, 0.0, -1.0]])
    with use(mode):
        found, _, depth = rasterize(vertices, torch.tensor([[0, 1, 2], [0, 1, 3]]), (8.0, 8.0, 8.0, 8.0), 16, 16)
    # the floor fills the lower rows, nothing above the horizon, and the face behind is unseen
    assert (found[:8] == -1).all()
    assert (found[12:] == 0).all()
    assert torch.allclose(depth[15], torch.tensor(8 / 7.5))


def test_kernel_agrees_with_reference():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(40, 1, 3, generator=generator) + torch.tensor([0.0, 0.0, 1.5])
    vertices = (centers + 0.4 * torch.randn(40, 3, 3, generator=generator)).reshape(-1, 3)
    faces = torch.arange(120).reshape(40, 3)
    arguments = (vertices, faces, (30.0, 25.0, 19.3, 17.1), 41, 37)
    found, weights, depth = rasterize(*arguments)
    with use("reference"):
        expected_found, expected_weights, expected_depth = rasterize(*arguments)
    assert (found == expected_found).float().mean() > 0.998
    same = found == expected_found
    assert torch.allclose(weights[same], expected_weights[same], atol=1e-5)
    assert torch.allclose(depth[same], expected_depth[same], rtol=1e-5)
    assert 0.2 < (found >= 0).float().mean() < 0.95
    assert len(found.unique()) > 10


def test_shared_edges_leave_no_gap():
    """A fan of triangles around a point inside the picture covers its disc without holes."""
    angles = torch.linspace(0, 2 * torch.pi, 38)[:-1]
    rim = torch.stack((10 + 9 * angles.cos(), 10 + 9 * angles.sin(), torch.ones(37)), dim=1)
    vertices = torch.cat((torch.tensor([[10.0, 10.0, 1.0]]), rim))
    faces = torch.tensor([[0, n + 1, (n + 1) % 37 + 1] for n in range(37)])
    found, _, _ = rasterize(vertices, faces, (4.0, 4.0, 0.0, 0.0), 80, 80)
    y, x = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    radius = ((x / 4 - 10) ** 2 + (y / 4 - 10) ** 2).sqrt()
    assert (found[radius < 8.9] >= 0).all()
    assert (found[radius > 9] == -1).all()


def test_pictures_without_pixels_and_wrong_shapes():
    with pytest.raises(UsageError, match="0 x 4"):
        rasterize(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), PIXELS, 0, 4)
    with pytest.raises(UsageError, match="four intrinsics"):
        rasterize(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), (1.0, 1.0), 4, 4)
