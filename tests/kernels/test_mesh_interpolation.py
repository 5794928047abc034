"""Interpolation on rasterised meshes: rays and planes as truth, finite differences, and the kernel as its reference."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.mesh_interpolation import interpolate_mesh
from onefield.kernels.rasterize import rasterize

INTRINSICS = (11.0, 12.0, 6.3, 5.1)


def soup(dtype=torch.float32):
    """Three faces of which two share an edge, some behind others, tilted."""
    vertices = torch.tensor(
        [[-0.9, -0.7, 2.0], [0.8, -0.5, 2.9], [-0.2, 0.8, 3.3], [0.9, 0.6, 4.1],
         [-0.6, 0.1, 1.6], [0.3, 0.2, 1.5], [0.0, 0.5, 1.7]],
        dtype=dtype,
    )  # fmt: skip
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6]])
    seen, _, depth = rasterize(vertices, faces, INTRINSICS, 13, 11)
    assert set(seen.unique().tolist()) == {-1, 0, 1, 2}
    return vertices, faces, seen, depth


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_positions_lie_on_the_ray_at_the_rasterised_depth(mode):
    vertices, faces, seen, depth = soup()
    with use(mode):
        points = interpolate_mesh(vertices, faces, vertices, seen, INTRINSICS)
    y, x = torch.meshgrid(torch.arange(11) + 0.5, torch.arange(13) + 0.5, indexing="ij")
    rays = torch.stack(((x - 6.3) / 11, (y - 5.1) / 12, torch.ones_like(x)), dim=-1)
    torch.testing.assert_close(points, rays * depth[..., None], atol=1e-5, rtol=1e-5)
    # on the plane of the face that is seen
    a, b, c = vertices[faces[seen.clamp(min=0)]].unbind(2)
    apart = (torch.linalg.cross(b - a, c - a) * (points - a)).sum(-1)[seen >= 0]
    assert float(apart.abs().max()) < 1e-5


def test_gradients_agree_with_finite_differences():
    vertices, faces, seen, _ = soup(torch.float64)
    attributes = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = (vertices.requires_grad_(), attributes.requires_grad_())
    assert torch.autograd.gradcheck(lambda v, a: interpolate_mesh(v, faces, a, seen, INTRINSICS), inputs)


def test_the_kernel_and_its_gradients_are_those_of_the_reference():
    vertices, faces, seen, _ = soup()
    generator = torch.Generator().manual_seed(1)
    attributes = torch.randn(7, 5, generator=generator)
    drawn = torch.randn(11, 13, 5, generator=generator)
    results = []
    for mode in ("fast", "reference"):
        inputs = (vertices.clone().requires_grad_(), attributes.clone().requires_grad_())
        with use(mode):
            picture = interpolate_mesh(inputs[0], faces, inputs[1], seen, INTRINSICS)
            results.append((picture.detach(), *torch.autograd.grad((picture * drawn).sum(), inputs)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert all(float(gradient.abs().amax(1).min()) > 0 for gradient in results[0][1:])


def test_shapes_that_do_not_fit_are_refused():
    vertices, faces, seen, _ = soup()
    with pytest.raises(UsageError, match="7 vertices"):
        interpolate_mesh(vertices, faces, vertices[:3], seen, INTRINSICS)
