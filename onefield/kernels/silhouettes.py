"""Silhouettes between neighbouring pixels of a rasterised mesh: contract, PyTorch reference, and anti-aliasing by them.

Laine et al., "Modular primitives for high-performance differentiable rendering" (2020), section 3.6: where two
neighbouring pixels see different things, an edge of the nearer one at which the surface ends or turns away crosses the
line between their centres, and the share of the way at which it does says how much of a pixel each covers. So the blend
follows the edge, and a gradient of the picture reaches the edge's ends.

Unlike there, the surface is followed from face to face until it ends, so that faces may be smaller than pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation

# Faces that are followed between two pixels' centres; where they are smaller than that, the silhouette is left out.
MOST_FACES = 64


def face_neighbours(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "F 3"]:
    """The face across each edge (corner n to the one after it), -1 where there is none, or more than one."""
    edges = torch.stack((faces, faces.roll(-1, dims=1)), dim=2).reshape(-1, 2).long()
    low, high = edges.amin(1), edges.amax(1)
    keys, order = torch.sort(low * (int(faces.max()) + 1 if faces.numel() else 1) + high, stable=True)
    same = keys[1:] == keys[:-1]
    no = same.new_zeros(1)
    before, after = torch.cat((no, same)), torch.cat((same, no))
    # the first of exactly two equal keys
    first = after & ~before & ~torch.cat((after[1:], no))
    (place,) = first.nonzero(as_tuple=True)
    one, other = order[place], order[place + 1]
    neighbours = torch.full_like(order, -1)
    neighbours[one], neighbours[other] = other // 3, one // 3
    return neighbours.reshape(-1, 3)


def silhouettes_reference(
    vertices: Tensor, faces: Tensor, neighbours: Tensor, seen: Tensor, depth: Tensor, intrinsics: Sequence[float]
) -> Tensor:
    """See `silhouettes`; all pairs of pixels that differ walk at once."""
    height, width = seen.shape
    found = torch.full((height * width, 2), -1, dtype=torch.int64, device=seen.device)
    pixels = torch.arange(height * width, device=seen.device).reshape(height, width)
    projected = project_vertices(vertices.double(), intrinsics)
    flat, deep = seen.flatten(), depth.flatten()
    for axis, (first, second) in enumerate(((pixels[:, :-1], pixels[:, 1:]), (pixels[:-1], pixels[1:]))):
        differ = flat[first] != flat[second]
        first, second = first[differ], second[differ]
        turned = (flat[first] < 0) | ((flat[second] >= 0) & (deep[second] < deep[first]))
        front = torch.where(turned, second, first)
        center = torch.stack((front % width, torch.div(front, width, rounding_mode="floor")), dim=1) + 0.5
        found[first, axis] = _walk(projected, faces, neighbours, flat[front], center, turned, axis)
    return found.reshape(height, width, 2)


def project_vertices(vertices: Float[Tensor, "V 3"], intrinsics: Sequence[float]) -> Float[Tensor, "V 2"]:
    """Pixels of points in camera coordinates; NaN for those that are not ahead of the camera."""
    z = vertices[:, 2:]
    scaled = vertices[:, :2] / torch.where(z > 0, z, torch.nan) * vertices.new_tensor(intrinsics[:2])
    return scaled + vertices.new_tensor(intrinsics[2:])


def _walk(
    projected: Tensor, faces: Tensor, neighbours: Tensor, face: Tensor, center: Tensor, turned: Tensor, axis: int
) -> Tensor:
    """Three times the face plus the number of its edge at which the surface ends before the other centre, or -1."""
    forward = torch.where(turned, -1.0, 1.0).double()

    def crossings(of: Tensor) -> Tensor:
        """How far along the way each edge of faces is met; minus infinity where it is not, NaN behind the camera."""
        corners = projected[faces[of]] - center[:, None]
        along, aside = forward[:, None] * corners[..., axis], corners[..., 1 - axis]
        next_along, next_aside = along.roll(-1, 1), aside.roll(-1, 1)
        place = along - aside * (next_along - along) / (next_aside - aside)
        behind = torch.isnan(corners).any(-1).any(-1, keepdim=True)
        place = torch.where((aside < 0) != (next_aside < 0), place, -torch.inf)
        return torch.where(behind, torch.nan, place)

    place, edge = crossings(face).max(1)
    ended = torch.full_like(face, -1)
    walking = torch.isfinite(place) & (place < 1)
    for _ in range(MOST_FACES):
        across = neighbours[face, edge]
        beyond = across.clamp(min=0)
        low, high = faces[face, edge], faces[face, (edge + 1) % 3]
        ways = crossings(beyond)
        same = (faces[beyond] == high[:, None]) & (faces[beyond].roll(-1, 1) == low[:, None])
        same |= (faces[beyond] == low[:, None]) & (faces[beyond].roll(-1, 1) == high[:, None])
        further, exit_edge = torch.where(same, -torch.inf, ways).max(1)
        ends = walking & ((across < 0) | (further <= place))
        ended = torch.where(ends, 3 * face + edge, ended)
        walking = walking & ~ends & (further < 1)
        if not bool(walking.any()):
            break
        face, edge = torch.where(walking, across, face), torch.where(walking, exit_edge, edge)
        place = torch.where(walking, further, place)
    return torch.where(_steep(projected, faces, ended.clamp(min=0), axis), ended, -1)


def _steep(projected: Tensor, faces: Tensor, edge: Tensor, axis: int) -> Tensor:
    """An edge blends along the axis that it crosses more squarely, so that none counts twice."""
    face, corner = torch.div(edge, 3, rounding_mode="floor"), edge % 3
    extent = (projected[faces[face, (corner + 1) % 3]] - projected[faces[face, corner]]).abs()
    return extent[:, 0] <= extent[:, 1] if axis == 0 else extent[:, 1] < extent[:, 0]


_operation = Operation(
    name="silhouettes",
    schema=(
        "(Tensor vertices, Tensor faces, Tensor neighbours, Tensor seen, Tensor depth, float[] intrinsics) -> Tensor"
    ),
    reference=silhouettes_reference,
    fake=lambda vertices, faces, neighbours, seen, depth, intrinsics: seen.new_empty((*seen.shape, 2)),
    cpu="onefield.kernels.cpu.silhouettes:silhouettes",
)


def silhouettes(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    neighbours: Int[Tensor, "F 3"],
    seen: Int[Tensor, "H W"],
    depth: Float[Tensor, "H W"],
    intrinsics: Sequence[float],
) -> Int[Tensor, "H W 2"]:
    """The edge that ends the nearer of two surfaces between each pixel's centre and those to its right and below.

    Args:
        vertices, intrinsics: as of `onefield.kernels.rasterize.rasterize`.
        neighbours: as `face_neighbours` gives them.
        seen, depth: face and depth of each pixel, as rasterised.

    Returns:
        Three times the face plus the number of its edge, which runs from the corner of that number to the next; -1
        where no surface ends, and where the edge lies more along the two pixels than across. Not differentiable.
    """
    return _operation(
        vertices.detach().contiguous(),
        faces.long().contiguous(),
        neighbours.contiguous(),
        seen.contiguous(),
        depth.detach().contiguous(),
        [float(value) for value in intrinsics],
    )


def antialias(
    picture: Float[Tensor, "H W C"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    edges: Int[Tensor, "H W 2"],
    intrinsics: Sequence[float],
) -> Float[Tensor, "H W C"]:
    """A picture whose silhouettes are blended by how much of each pixel lies on either side.

    Summed over a row or column that an edge crosses, the coverage is exact, so that pictures change evenly while edges
    move over pixels. Differentiable with respect to picture and vertices, as often as wanted.

    Args:
        picture: as rasterised, any number of channels.
        vertices, faces, intrinsics: as rasterised.
        edges: from `silhouettes`.

    Raises:
        UsageError: the picture and the edges are not of one size.
    """
    height, width, channels = picture.shape
    if tuple(edges.shape) != (height, width, 2):
        raise UsageError(f"A picture of {width} x {height} pixels has edges of shape {tuple(edges.shape)}.")
    first, axis = (edges.reshape(-1, 2) >= 0).nonzero(as_tuple=True)
    edge = edges.reshape(-1, 2)[first, axis]
    second = first + torch.where(axis == 0, 1, width)
    face, corner = torch.div(edge, 3, rounding_mode="floor"), edge % 3
    ends = faces[face, corner].long(), faces[face, (corner + 1) % 3].long()
    start, end = (project_vertices(vertices.index_select(0, of).double(), intrinsics) for of in ends)
    center = torch.stack((first % width, torch.div(first, width, rounding_mode="floor")), dim=1) + 0.5
    # along the pair, and across it
    (start_along, start_aside), (end_along, end_aside) = (
        (torch.where(axis == 0, point[:, 0], point[:, 1]), torch.where(axis == 0, point[:, 1], point[:, 0]))
        for point in (start - center, end - center)
    )
    # of the way from the first pixel's centre to the second's
    place = start_along - start_aside * (end_along - start_along) / (end_aside - start_aside)
    flat = picture.reshape(-1, channels)
    step = flat.index_select(0, second) - flat.index_select(0, first)
    # before the border of the two pixels the first one gets some of the second, beyond it the reverse
    share = (0.5 - place).to(picture.dtype)[:, None]
    receiver = torch.where(share[:, 0] > 0, first, second)
    return flat.index_add(0, receiver, share * step).reshape(picture.shape)
