"""Closest points on a triangle mesh and winding numbers around it: contract and PyTorch reference.

The kernels walk a binary tree of boxes; the references compare each point with each triangle. Source of the winding
number: Jacobson et al. 2013 (exact sum of solid angles by Van Oosterom and Strackee 1983) and Barill et al. 2018 (far
parts as dipoles).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import DataError
from onefield.kernels.dispatch import Operation

# Triangles in a leaf of the tree.
LEAF = 4
# A node is seen as a dipole from further than this many of its radii. Barill et al. take 2; 2.5 kept errors below 0.05
# on scanned meshes, a tenth of what would turn a sign.
FAR = 2.5
# Elements of the largest temporary of the references.
_CHUNK_ELEMENTS = 2**22


@dataclass(frozen=True)
class TriangleTree:
    """A complete binary tree over triangles: node k has the children 2k + 1 and 2k + 2, leaves come last.

    Attributes:
        triangles: corners, leaf after leaf; the count is a power of two times ``LEAF``, filled up with copies.
        faces: which face of the mesh each is, -1 for copies.
        boxes: lower and upper corner of each node.
        dipoles: of each node the sum of area-weighted normals, the area-weighted centre, and the radius about it.
    """

    triangles: Float[Tensor, "T 3 3"]
    faces: Int[Tensor, "T"]
    boxes: Float[Tensor, "nodes 6"]
    dipoles: Float[Tensor, "nodes 7"]


def build_tree(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> TriangleTree:
    """Halves the triangles level by level at the median of the longest side of their box.

    Raises:
        DataError: the mesh has no face or a coordinate that is not finite.
    """
    if faces.shape[0] == 0:
        raise DataError("The mesh has no faces, so there is no surface to measure the distance to.")
    if not torch.isfinite(vertices).all():
        raise DataError("The mesh has vertices with NaN or infinite coordinates; remove them.")
    corners = vertices[faces.long()].float()
    depth = max(0, math.ceil(math.log2(-(-len(corners) // LEAF))))
    total = LEAF * 2**depth
    order = torch.arange(total, device=vertices.device).clamp(max=len(corners) - 1)
    centers = corners.mean(1)
    for level in range(depth):
        rows = order.reshape(2**level, -1)
        spread = centers[rows]
        axis = (spread.amax(1) - spread.amin(1)).argmax(-1)
        keys = spread.gather(2, axis[:, None, None].expand(-1, rows.shape[1], 1))[..., 0]
        order = rows.gather(1, keys.argsort(dim=1, stable=True)).reshape(-1)
    copy = torch.ones(total, dtype=torch.bool, device=order.device)
    # of equal entries one is the face itself: whichever is written last
    last = torch.zeros(len(corners), dtype=torch.long, device=order.device)
    last[order] = torch.arange(total, device=order.device)
    copy[last] = False
    triangles = corners[order].contiguous()
    identity = torch.where(copy, torch.full_like(order, -1), order)
    boxes, dipoles = _summaries(triangles, copy, depth)
    return TriangleTree(triangles, identity, boxes, dipoles)


def _summaries(triangles: Tensor, copy: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    exact = triangles.double()
    normals = torch.linalg.cross(exact[:, 1] - exact[:, 0], exact[:, 2] - exact[:, 0]) / 2
    normals = torch.where(copy[:, None], torch.zeros_like(normals), normals)
    areas = torch.linalg.vector_norm(normals, dim=-1, keepdim=True)
    weighted = areas * exact.mean(1)
    boxes, dipoles = [], []
    for level in range(depth + 1):
        corners = exact.reshape(2**level, -1, 3)
        area = areas.reshape(2**level, -1, 1).sum(1)
        middle = (corners.amin(1) + corners.amax(1)) / 2
        # a node of degenerate triangles has no area to weigh with
        center = torch.where(area > 0, weighted.reshape(2**level, -1, 3).sum(1) / area, middle)
        radius = torch.linalg.vector_norm(corners - center[:, None], dim=-1).amax(1, keepdim=True)
        boxes.append(torch.cat([corners.amin(1), corners.amax(1)], -1))
        dipoles.append(torch.cat([normals.reshape(2**level, -1, 3).sum(1), center, radius], -1))
    return torch.cat(boxes).float(), torch.cat(dipoles).float()


def _segment_closest(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    along = end - start
    square = (along * along).sum(-1, keepdim=True)
    # a segment of no length is its start
    share = ((points - start) * along).sum(-1, keepdim=True) / torch.where(square > 0, square, torch.ones_like(square))
    return start + share.clamp(0, 1) * along


def _triangle_closest(points: Tensor, triangles: Tensor) -> Tensor:
    """Closest point ``n t 3`` on each triangle: the best of the foot of the perpendicular and the three edges."""
    a, b, c = triangles.unbind(1)
    query = points[:, None]
    normal = torch.linalg.cross(b - a, c - a)
    square = (normal * normal).sum(-1, keepdim=True)
    flat = square <= 0
    height = ((query - a) * normal).sum(-1, keepdim=True) / torch.where(flat, torch.ones_like(square), square)
    foot = query - height * normal
    turns = [
        (torch.linalg.cross((end - start).expand_as(foot), foot - start) * normal).sum(-1)
        for start, end in ((a, b), (b, c), (c, a))
    ]
    inside = torch.stack(turns).amin(0) >= 0
    best = foot
    nearest = torch.where(inside & ~flat[..., 0], (query - foot).square().sum(-1), torch.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        candidate = _segment_closest(query, start, end)
        distance = (query - candidate).square().sum(-1)
        best = torch.where((distance < nearest)[..., None], candidate, best)
        nearest = torch.minimum(nearest, distance)
    return best


def _closest_reference(points: Tensor, triangles: Tensor, faces: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    corners = triangles.to(points.dtype)
    found, owners = [points.new_empty(0, 3)], [faces.new_empty(0)]
    for part in points.split(max(1, _CHUNK_ELEMENTS // (3 * len(corners)))):
        candidates = _triangle_closest(part, corners)
        distance = (part[:, None] - candidates).square().sum(-1)
        index = torch.where(faces < 0, torch.inf, distance).argmin(1)
        found.append(candidates[torch.arange(len(part), device=part.device), index])
        owners.append(faces[index])
    return torch.cat(found), torch.cat(owners)


def _winding_reference(points: Tensor, triangles: Tensor, faces: Tensor, dipoles: Tensor) -> Tensor:
    corners = triangles[faces >= 0].to(points.dtype)
    sums = [points.new_empty(0)]
    for part in points.split(max(1, _CHUNK_ELEMENTS // (9 * len(corners)))):
        a, b, c = (corners[None] - part[:, None, None]).unbind(2)
        lengths = [torch.linalg.vector_norm(v, dim=-1) for v in (a, b, c)]
        volume = (a * torch.linalg.cross(b, c)).sum(-1)
        rest = lengths[0] * lengths[1] * lengths[2]
        rest = rest + (a * b).sum(-1) * lengths[2] + (b * c).sum(-1) * lengths[0] + (c * a).sum(-1) * lengths[1]
        sums.append(torch.atan2(volume, rest).sum(-1) / (2 * math.pi))
    return torch.cat(sums)


closest_point_operation = Operation(
    name="closest_point",
    schema="(Tensor points, Tensor triangles, Tensor faces, Tensor boxes) -> (Tensor, Tensor)",
    reference=_closest_reference,
    fake=lambda points, triangles, faces, boxes: (torch.empty_like(points), faces.new_empty(points.shape[0])),
    cpu="onefield.kernels.cpu.point_mesh:closest_point",
)

winding_operation = Operation(
    name="winding_number",
    schema="(Tensor points, Tensor triangles, Tensor faces, Tensor dipoles) -> Tensor",
    reference=_winding_reference,
    fake=lambda points, triangles, faces, dipoles: points.new_empty(points.shape[0]),
    cpu="onefield.kernels.cpu.point_mesh:winding_number",
)


@torch.no_grad()
def closest_point(points: Float[Tensor, "n 3"], tree: TriangleTree) -> tuple[Float[Tensor, "n 3"], Int[Tensor, "n"]]:
    """The surface's point nearest to each point, and the face that it lies on. Not differentiable."""
    return closest_point_operation(points, tree.triangles, tree.faces, tree.boxes)


@torch.no_grad()
def winding_number(points: Float[Tensor, "n 3"], tree: TriangleTree) -> Float[Tensor, "n"]:
    """How often the surface goes round each point: 1 inside a closed surface whose faces turn out, 0 outside.

    Between the two near holes. The kernel takes far parts as dipoles, with errors up to 0.05. Not differentiable.
    """
    return winding_operation(points, tree.triangles, tree.faces, tree.dipoles)


def signed_distance(points: Float[Tensor, "n 3"], tree: TriangleTree) -> Float[Tensor, "n"]:
    """Distance to the surface, negative where the winding number's magnitude exceeds one half.

    So surfaces that are turned inside out, and small holes, do no harm.
    """
    nearest, _ = closest_point(points, tree)
    distance = torch.linalg.vector_norm(points - nearest, dim=-1)
    return torch.where(winding_number(points, tree).abs() > 0.5, -distance, distance)
