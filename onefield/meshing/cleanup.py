"""Repairs that change no shape, and decimation, which changes it as little as it can."""

from __future__ import annotations

from dataclasses import replace

import fast_simplification
import numpy as np
import torch
from jaxtyping import Bool
from scipy.spatial import cKDTree
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.point_mesh import build_tree, winding_number
from onefield.meshing.geometry import face_vectors
from onefield.meshing.report import edges_of, face_volumes, vertex_components
from onefield.types import Mesh


def keep_large_components(mesh: Mesh, min_fraction: float = 0.01) -> Mesh:
    """Drops the connected pieces whose area is below a fraction of the largest piece's.

    Args:
        mesh: any mesh.
        min_fraction: in [0, 1]; 1 keeps the largest piece only (and any of the same area).

    Raises:
        UsageError: the fraction lies outside [0, 1].
    """
    if not 0 <= min_fraction <= 1:
        raise UsageError(f"The fraction of the largest piece's area must lie in [0, 1], got {min_fraction}.")
    if not mesh.faces.shape[0]:
        return mesh
    piece = torch.from_numpy(vertex_components(mesh)).long()[mesh.faces[:, 0].cpu()]
    areas = torch.zeros(int(piece.max()) + 1, dtype=torch.float64)
    areas.index_add_(0, piece, face_vectors(mesh).norm(dim=1).cpu())
    kept = areas >= min_fraction * areas.max()
    return select_faces(mesh, kept[piece])


def fill_cavities(mesh: Mesh) -> Mesh:
    """Drops closed pieces that bound a hollow inside of another closed piece, where nothing outside can see them.

    A hollow's wall is wound towards its middle, so that it encloses a negative volume. A surface that is inside out as
    a whole lies in no other piece and stays, as does what stands free in a hollow.
    """
    if not len(mesh.faces):
        return mesh
    faces = mesh.faces.cpu().numpy().astype(np.int64)
    _, first, piece = np.unique(vertex_components(mesh)[faces[:, 0]], return_index=True, return_inverse=True)
    piece = torch.from_numpy(piece)
    _, _, edge_of, uses, _ = edges_of(faces, mesh.vertices.shape[0])
    volumes = torch.zeros(len(first), dtype=torch.float64).index_add_(0, piece, face_volumes(mesh).cpu())
    volumes[piece[torch.from_numpy(np.nonzero(uses[edge_of] == 1)[0] // 3)]] = 0  # what is open encloses nothing
    walls, solids = torch.nonzero(volumes < 0)[:, 0], select_faces(mesh, (volumes > 0)[piece])
    if not len(walls) or not len(solids.faces):
        return mesh
    points = mesh.vertices[torch.from_numpy(faces[first[walls.numpy()], 0])].float()
    hollow = torch.zeros_like(volumes, dtype=torch.bool)
    hollow[walls] = (winding_number(points, build_tree(solids.vertices, solids.faces)) > 0.5).cpu()
    return select_faces(mesh, ~hollow[piece])


def select_faces(mesh: Mesh, kept: Bool[Tensor, "F"]) -> Mesh:
    """The mesh of the faces that are kept, without vertices that none of them names."""
    faces = mesh.faces[kept.to(mesh.faces.device)]
    used = torch.zeros(mesh.vertices.shape[0], dtype=torch.bool, device=mesh.faces.device)
    used[faces.flatten()] = True
    number = used.cumsum(0) - 1
    return Mesh(
        mesh.vertices[used],
        number[faces].to(mesh.faces.dtype),
        colors=None if mesh.colors is None else mesh.colors[used],
        normals=None if mesh.normals is None else mesh.normals[used],
    )


def remove_degenerate_faces(mesh: Mesh) -> Mesh:
    """Merges vertices of equal position, then drops faces that name a vertex twice and copies of a face.

    A closed surface stays closed: what is dropped had no area between its edges. Of merged vertices the first gives
    colour and normal. Triangles whose three vertices differ but lie on a line stay, since dropping them would open the
    surface.
    """
    positions, merged = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    first = torch.full((positions.shape[0],), mesh.vertices.shape[0], dtype=torch.int64, device=merged.device)
    first.scatter_reduce_(0, merged, torch.arange(merged.shape[0], device=merged.device), reduce="amin")
    faces = first[merged][mesh.faces.long()]
    distinct = (faces != faces.roll(1, dims=1)).all(dim=1)
    # copies: same vertices in the same cyclic order
    turn = faces.argmin(dim=1, keepdim=True)
    cyclic = faces.gather(1, (turn + torch.arange(3, device=faces.device)) % 3)
    _, copy_of = torch.unique(cyclic, dim=0, return_inverse=True)
    first_copy = torch.full((faces.shape[0],), faces.shape[0], dtype=torch.int64, device=faces.device)
    numbers = torch.arange(faces.shape[0], device=faces.device)
    first_copy.scatter_reduce_(0, copy_of, numbers, reduce="amin")
    return select_faces(replace(mesh, faces=faces.to(mesh.faces.dtype)), distinct & (first_copy[copy_of] == numbers))


def decimate(mesh: Mesh, face_count: int) -> Mesh:
    """Fewer faces by quadric error edge collapse (Garland and Heckbert 1997), colours from the nearest old vertex.

    Args:
        mesh: any mesh; one that has no more faces is returned as it is.
        face_count: about how many faces to end with, at least 4.

    Returns:
        float32 vertices about the old positions; normals are dropped, since the surface changed.

    Raises:
        UsageError: fewer than 4 faces were asked for.
    """
    if face_count < 4:
        raise UsageError(f"A closed mesh has at least 4 faces; decimating to {face_count} is not possible.")
    if mesh.faces.shape[0] <= face_count:
        return mesh
    vertices = mesh.vertices.detach().double().cpu().numpy()
    center = vertices.mean(axis=0)
    points, faces = fast_simplification.simplify(
        np.ascontiguousarray(vertices - center, dtype=np.float32),
        np.ascontiguousarray(mesh.faces.cpu().numpy(), dtype=np.int32),
        target_count=int(face_count),
    )
    colors = None
    if mesh.colors is not None:
        _, nearest = cKDTree(vertices - center).query(points)
        colors = mesh.colors.cpu()[torch.from_numpy(nearest)]
    moved = torch.from_numpy(points.astype(np.float64) + center).to(mesh.vertices.dtype)
    return Mesh(moved, torch.from_numpy(faces.astype(np.int64)), colors=colors)
