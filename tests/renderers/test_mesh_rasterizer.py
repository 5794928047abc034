"""Differentiable pictures of meshes: closed forms, finite differences, and a shape found by its mask."""

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.renderers.mesh_rasterizer import rasterize_mesh

# looks along +y from y = -3, z up
POSE = torch.tensor([[1.0, 0, 0, 0.1], [0, 0, 1, -3], [0, -1, 0, 0.2]], dtype=torch.float64)
TETRAHEDRON = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])


def camera(size=24, focal=30.0):
    return Cameras.pinhole(POSE[None], focal, (size / 2, size / 2), size, size)


def tetrahedron(dtype=torch.float64):
    return torch.tensor([[-0.7, -0.2, -0.5], [0.8, 0.1, -0.6], [0.1, 0.7, -0.4], [0.15, 0.05, 0.9]], dtype=dtype)


def test_depth_normal_and_attributes_of_a_wall():
    """A wall y = 1: distances along rays, a normal that faces the camera, colours that run with x and z."""
    vertices = torch.tensor([[-9.0, 1, -9], [9, 1, -9], [9, 1, 9], [-9, 1, 9]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    view = camera()
    picture = rasterize_mesh(vertices, faces, view, attributes=vertices[:, ::2])
    rays = view.image_rays(0)
    along = 4 / rays.directions[:, 1]
    points = (rays.origins + along[:, None] * rays.directions).reshape(24, 24, 3)
    assert (picture.mask == 1).all()
    torch.testing.assert_close(picture.depth, along.reshape(24, 24), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(picture.normal, torch.tensor([0.0, -1.0, 0.0]).expand(24, 24, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(picture.attributes, points[..., ::2], rtol=1e-4, atol=1e-5)


def test_gradients_of_all_it_draws_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    vertices = tetrahedron().requires_grad_()
    colors = torch.rand(4, 2, dtype=torch.float64, generator=generator).requires_grad_()

    def draw(vertices, colors):
        picture = rasterize_mesh(vertices, TETRAHEDRON, camera(14, 16.0), attributes=colors)
        return picture.mask, picture.depth, picture.normal, picture.attributes

    assert torch.autograd.gradcheck(draw, (vertices, colors), eps=1e-7)


def test_kernels_draw_what_the_references_draw():
    coarse, fine = (
        rasterize_mesh(tetrahedron(dtype), TETRAHEDRON, camera()) for dtype in (torch.float32, torch.float64)
    )
    for name in ("mask", "depth", "normal"):
        torch.testing.assert_close(getattr(coarse, name).double(), getattr(fine, name), atol=1e-4, rtol=1e-4)
    assert coarse.attributes.shape == (24, 24, 0)
    assert 60 < float(coarse.mask.sum()) < 300


def test_a_shape_comes_back_from_its_mask_alone():
    truth = tetrahedron(torch.float32)
    targets = rasterize_mesh(truth, TETRAHEDRON, camera(32, 40.0)).mask
    vertices = (truth + torch.tensor([[0.1, 0.0, 0.08], [-0.12, 0, 0.1], [0, 0, 0.1], [0.1, 0, -0.1]])).requires_grad_()
    optimizer = torch.optim.Adam([vertices], lr=0.01)
    losses = []
    for _ in range(60):
        loss = (rasterize_mesh(vertices, TETRAHEDRON, camera(32, 40.0)).mask - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]


def test_an_empty_mesh_is_an_empty_picture():
    picture = rasterize_mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), camera())
    assert float(picture.mask.sum() + picture.depth.sum()) == 0


def test_views_that_cannot_be_drawn_are_refused():
    vertices = tetrahedron()
    with pytest.raises(UsageError, match="one view, got 2"):
        rasterize_mesh(vertices, TETRAHEDRON, Cameras.concatenate([camera(), camera()]))
    bent = camera()
    bent.distortion[0, 0] = 0.1
    with pytest.raises(UsageError, match="undistort"):
        rasterize_mesh(vertices, TETRAHEDRON, bent)
