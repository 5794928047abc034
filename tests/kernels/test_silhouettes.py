"""Silhouettes: areas in closed form and their derivatives, borders, folds, things behind one another, tiny faces."""

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.rasterize import rasterize
from onefield.kernels.silhouettes import antialias, face_neighbours, silhouettes

# focal length 1 pixel at depth 1: x and y of the vertices are pixels
PIXELS = (1.0, 1.0, 0.0, 0.0)


def edges_of(vertices, faces, width, height, intrinsics=PIXELS):
    seen, _, depth = rasterize(vertices, faces, intrinsics, width, height)
    return seen, silhouettes(vertices, faces, face_neighbours(faces), seen, depth, intrinsics)


def coverage(vertices, faces, width, height, intrinsics=PIXELS):
    seen, edges = edges_of(vertices, faces, width, height, intrinsics)
    return antialias((seen >= 0).to(vertices.dtype)[..., None], vertices, faces, edges, intrinsics)[..., 0]


def ball(rings, sectors, radius, center):
    """A closed sphere of latitudes and longitudes about the camera's axis y."""
    theta = torch.linspace(0, math.pi, rings + 1, dtype=torch.float64)[1:-1]
    phi = torch.arange(sectors, dtype=torch.float64) * (2 * math.pi / sectors)
    around = torch.stack((phi.cos(), torch.zeros_like(phi), phi.sin()), dim=1)
    body = theta.sin()[:, None, None] * around + theta.cos()[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    vertices = torch.cat((body.reshape(-1, 3), poles)) * radius + torch.tensor(center, dtype=torch.float64)
    faces = []
    for n in range(sectors):
        after = (n + 1) % sectors
        faces.append([len(vertices) - 2, after, n])
        for ring in range(rings - 2):
            a, b = ring * sectors + n, ring * sectors + after
            faces += [[a, b, b + sectors], [a, b + sectors, a + sectors]]
        faces.append([len(vertices) - 1, (rings - 2) * sectors + n, (rings - 2) * sectors + after])
    return vertices, torch.tensor(faces)


def test_neighbours_across_edges_borders_and_edges_of_three_faces():
    tetrahedron = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    assert face_neighbours(tetrahedron).tolist() == [[1, 2, 3], [3, 2, 0], [1, 3, 0], [2, 1, 0]]
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4], [3, 5, 1]])
    assert face_neighbours(fan).tolist() == [[-1, -1, -1], [-1, -1, 3], [-1, -1, -1], [-1, -1, 1]]
    assert face_neighbours(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3)


def test_a_box_between_pixels_is_covered_exactly():
    vertices = torch.tensor([[2.3, 3.6, 1.0], [9.1, 3.6, 1.0], [9.1, 8.2, 1.0], [2.3, 8.2, 1.0]])
    mask = coverage(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), 12, 11)
    across = torch.tensor([0, 0, 0.7, 1, 1, 1, 1, 1, 1, 0.1, 0, 0])
    down = torch.tensor([0, 0, 0, 0.4, 1, 1, 1, 1, 0.2, 0, 0])
    torch.testing.assert_close(mask[4:8], across.expand(4, 12), atol=1e-5, rtol=0)
    torch.testing.assert_close(mask[:, 3:9], down[:, None].expand(11, 6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", [0.0, 0.3, 0.8, 1.4])
def test_area_and_its_derivatives_are_those_of_the_polygon(turn):
    corners = torch.tensor([[-14.0, -11.0], [16.0, -5.0], [-2.0, 15.0]], dtype=torch.float64)
    spun = torch.stack(
        (
            corners[:, 0] * math.cos(turn) - corners[:, 1] * math.sin(turn),
            corners[:, 0] * math.sin(turn) + corners[:, 1] * math.cos(turn),
        ),
        dim=1,
    ) + torch.tensor([20.3, 20.6])
    vertices = torch.cat((spun, torch.ones(3, 1)), dim=1).requires_grad_()
    area = coverage(vertices, torch.tensor([[0, 1, 2]]), 40, 40).sum()
    (gradient,) = torch.autograd.grad(area, vertices)
    first, second = spun[1] - spun[0], spun[2] - spun[0]
    assert area.item() == pytest.approx(float(first[0] * second[1] - first[1] * second[0]) / 2, abs=0.7)
    ahead, behind = spun.roll(-1, 0), spun.roll(1, 0)
    expected = torch.stack((ahead[:, 1] - behind[:, 1], behind[:, 0] - ahead[:, 0]), dim=1) / 2
    assert float((gradient[:, :2] - expected).abs().max()) < 0.08 * float(expected.abs().max())


def test_pictures_change_evenly_while_an_edge_moves():
    places = torch.linspace(5.0, 7.0, 41)
    sums = []
    for place in places.tolist():
        vertices = torch.tensor(
            [[1.2, -50.0, 1.0], [place + 25, -50.0, 1.0], [place - 25, 70.0, 1.0], [1.2, 70.0, 1.0]]
        )
        sums.append(float(coverage(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), 24, 6).sum()))
    # six rows of one pixel each
    torch.testing.assert_close(torch.tensor(sums).diff(), torch.full((40,), 6 * 2 / 40), atol=2e-4, rtol=0)


def test_gradients_agree_with_finite_differences():
    vertices, faces = ball(5, 7, 1.0, (0.13, -0.21, 3.3))
    intrinsics = (9.0, 8.0, 6.2, 5.9)
    _, edges = edges_of(vertices, faces, 12, 12, intrinsics)
    assert int((edges >= 0).sum()) > 10
    picture = torch.randn(12, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = (picture.requires_grad_(), vertices.requires_grad_())
    assert torch.autograd.gradcheck(lambda p, v: antialias(p, v, faces, edges, intrinsics), inputs)


@pytest.mark.parametrize(("rings", "sectors"), [(24, 48), (150, 300)])
def test_a_closed_ball_ends_where_it_turns_away(rings, sectors):
    """Its outline is that of a cone about the axis, also where faces are much smaller than pixels."""
    vertices, faces = ball(rings, sectors, 1.0, (0.0, 0.0, 4.0))
    mask = coverage(vertices.float(), faces, 40, 40, (60.0, 60.0, 20.3, 19.9))
    radius = 60 * math.tan(math.asin(1 / 4))
    assert float(mask.sum()) == pytest.approx(math.pi * radius**2, rel=0.006 if rings < 50 else 0.002)
    y, x = torch.meshgrid(torch.arange(40) + 0.5 - 19.9, torch.arange(40) + 0.5 - 20.3, indexing="ij")
    away = (x * x + y * y).sqrt() - radius
    assert (mask[away < -1] == 1).all()
    assert (mask[away > 1] == 0).all()
    # where an outline runs in zigzag over faces' edges, a pixel's pairs may both meet edges along them: no blend
    off = (mask - (0.5 - away).clamp(0, 1))[away.abs() < 1].abs()
    assert float(off.mean()) < 0.05
    assert int((off > 0.2).sum()) <= 1


def test_what_lies_before_something_else_is_blended_with_it():
    vertices = torch.tensor(
        [[-40.0, -40, 2.0], [80, -40, 2.0], [-40, 80, 2.0], [3.25, -9, 1.0], [13.25, -9, 1.0], [3.25, 30, 1.0]]
    )
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen, edges = edges_of(vertices, faces, 6, 4)
    shade = antialias((seen == 1).float()[..., None], vertices, faces, edges, PIXELS)[..., 0]
    torch.testing.assert_close(shade[:, 2:5], torch.tensor([0.0, 0.75, 1.0]).expand(4, 3), atol=1e-5, rtol=0)


def test_the_kernel_agrees_with_the_reference():
    vertices, faces = ball(12, 16, 1.0, (0.2, 0.1, 3.0))
    other, more = ball(6, 7, 0.7, (-0.3, 0.4, 2.6))
    stray = torch.tensor([[-1.0, 0.5, 4.0], [1.0, 0.5, -1.0], [0.0, 0.9, 3.0]])
    vertices = torch.cat((vertices, other, stray)).float()
    faces = torch.cat((faces, more + len(vertices) - len(other) - 3, torch.arange(3)[None] + len(vertices) - 3))
    intrinsics = (30.0, 31.0, 19.7, 20.2)
    seen, edges = edges_of(vertices, faces, 40, 40, intrinsics)
    depth = rasterize(vertices, faces, intrinsics, 40, 40)[2]
    with use("reference"):
        expected = silhouettes(vertices, faces, face_neighbours(faces), seen, depth, intrinsics)
    assert (edges == expected).float().mean() > 0.998
    assert int((edges >= 0).sum()) > 50


def test_edges_of_another_picture_are_refused():
    with pytest.raises(UsageError, match="4 x 3 pixels"):
        antialias(torch.zeros(3, 4, 1), torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), torch.zeros(4, 3, 2), PIXELS)
