"""Attributes of a mesh's vertices at the pixels that see its faces: contract and PyTorch reference.

The weights of a face's corners a, b, c where the ray r through a pixel's centre meets its plane are
``r . (b x c, c x a, a x b)`` divided by their sum (Olano and Greer 1997): perspective-correct, and differentiable in
the corners while the pixel and its ray stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation


def pixel_rays(pixels: Int[Tensor, "n"], width: int, intrinsics: Sequence[float]) -> Float[Tensor, "n 3"]:
    """Rays with z = 1, float64, through the centres of pixels counted row by row."""
    focal_x, focal_y, center_x, center_y = intrinsics
    x = (pixels % width + 0.5 - center_x) / focal_x
    y = (torch.div(pixels, width, rounding_mode="floor") + 0.5 - center_y) / focal_y
    return torch.stack((x, y, torch.ones_like(x)), dim=1).double()


def interpolate_mesh_reference(
    vertices: Tensor, faces: Tensor, attributes: Tensor, seen: Tensor, intrinsics: Sequence[float]
) -> Tensor:
    """See `interpolate_mesh`; in float64."""
    height, width = seen.shape
    (pixels,) = (seen.flatten() >= 0).nonzero(as_tuple=True)
    corners = faces.index_select(0, seen.flatten()[pixels])
    a, b, c = vertices.double().index_select(0, corners.flatten()).reshape(-1, 3, 3).unbind(1)
    rays = pixel_rays(pixels, width, intrinsics)
    volumes = [(rays * torch.linalg.cross(*edge)).sum(1) for edge in ((b, c), (c, a), (a, b))]
    shares = torch.stack(volumes, dim=1)
    shares = shares / shares.sum(1, keepdim=True)
    of_corners = attributes.double().index_select(0, corners.flatten()).reshape(len(pixels), 3, -1)
    values = (of_corners * shares[..., None]).sum(1).to(attributes.dtype)
    picture = attributes.new_zeros(height * width, attributes.shape[1])
    return picture.index_copy(0, pixels, values).reshape(height, width, -1)


def _backward_reference(
    for_picture: Tensor, vertices: Tensor, faces: Tensor, attributes: Tensor, seen: Tensor, intrinsics: Sequence[float]
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        inputs = vertices.detach().requires_grad_(True), attributes.detach().requires_grad_(True)
        picture = interpolate_mesh_reference(inputs[0], faces, inputs[1], seen, intrinsics)
        return torch.autograd.grad(picture, inputs, for_picture)


_operation = Operation(
    name="interpolate_mesh",
    schema="(Tensor vertices, Tensor faces, Tensor attributes, Tensor seen, float[] intrinsics) -> Tensor",
    reference=interpolate_mesh_reference,
    fake=lambda vertices, faces, attributes, seen, intrinsics: attributes.new_empty((*seen.shape, attributes.shape[1])),
    cpu="onefield.kernels.cpu.mesh_interpolation:interpolate_mesh",
)

_backward_operation = Operation(
    name="interpolate_mesh_backward",
    schema=(
        "(Tensor for_picture, Tensor vertices, Tensor faces, Tensor attributes, Tensor seen, float[] intrinsics) "
        "-> (Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_picture, vertices, faces, attributes, *_: (
        torch.empty_like(vertices),
        torch.empty_like(attributes),
    ),
    cpu="onefield.kernels.cpu.mesh_interpolation:interpolate_mesh_backward",
)


def _setup(ctx, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.intrinsics = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, for_picture: Tensor) -> tuple:
    vertices, faces, attributes, seen = ctx.saved_tensors
    for_vertices, for_attributes = _backward_operation(
        for_picture.contiguous(), vertices, faces, attributes, seen, ctx.intrinsics
    )
    return for_vertices, None, for_attributes, None, None


_operation.register_autograd(_backward, _setup)


def interpolate_mesh(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    attributes: Float[Tensor, "V C"],
    seen: Int[Tensor, "H W"],
    intrinsics: Sequence[float],
) -> Float[Tensor, "H W C"]:
    """Attributes where the rays through pixels' centres meet the faces that they see, 0 where they see none.

    Differentiable with respect to attributes and vertices: positions as attributes give the point that a pixel sees,
    and how it moves along the ray. The kernels' backward can't be differentiated again (``use("reference")`` can).

    Args:
        vertices: in camera coordinates (x right, y down, z forward).
        attributes: of the vertices, any number of channels.
        seen: face of each pixel, -1 for none, as `onefield.kernels.rasterize.rasterize` finds them.
        intrinsics: focal lengths x and y and principal point x and y, pixels.

    Raises:
        UsageError: shapes do not fit.
    """
    if attributes.ndim != 2 or attributes.shape[0] != vertices.shape[0] or seen.ndim != 2 or len(intrinsics) != 4:
        raise UsageError(
            f"Interpolation on {vertices.shape[0]} vertices needs attributes (V, C), seen faces (H, W) and four "
            f"intrinsics, got {tuple(attributes.shape)}, {tuple(seen.shape)} and {len(intrinsics)}."
        )
    return _operation(
        vertices.contiguous(),
        faces.long().contiguous(),
        attributes.contiguous(),
        seen.contiguous(),
        [float(value) for value in intrinsics],
    )
