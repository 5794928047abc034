"""Is a mesh sound: facts counted from its faces alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from onefield.meshing.geometry import face_vectors
from onefield.types import Mesh


@dataclass(frozen=True)
class MeshReport:
    """Topology and size of a mesh; nothing is merged or repaired before counting.

    Attributes:
        vertices, faces: how many.
        components: pieces connected through shared edges' vertices; vertices without a face are no piece.
        boundary_edges: edges with one face.
        boundaries: pieces that these edges make, the rims of an open surface.
        manifold: no edge with more than two faces, and around each vertex one fan of faces.
        consistent: no edge is run through twice in one direction, so neighbours agree on which side is outside.
        watertight: every edge has exactly two faces, which run through it in opposite directions.
        degenerate_faces: faces of no area, or that name a vertex twice.
        unused_vertices: vertices that no face names.
        euler: vertices (used) - edges + faces.
        genus: handles, summed over the pieces; None unless watertight and manifold.
        area: in squared units of the vertices.
        volume: enclosed, in cubic units, positive where faces are counter-clockwise from outside; meaningful where
            watertight.
        minimum, maximum: corners of the bounding box of the used vertices (zeros where there are none).
    """

    vertices: int
    faces: int
    components: int
    boundary_edges: int
    boundaries: int
    manifold: bool
    consistent: bool
    watertight: bool
    degenerate_faces: int
    unused_vertices: int
    euler: int
    genus: int | None
    area: float
    volume: float
    minimum: tuple[float, float, float]
    maximum: tuple[float, float, float]

    def as_json(self) -> dict[str, object]:
        """All facts, for files and machines."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The facts that decide whether a mesh is sound, for people."""
        openings = f"no, {self.boundary_edges} open edges in {self.boundaries} rim{'s' * (self.boundaries != 1)}"
        return [
            f"{self.vertices} vertices, {self.faces} faces, {self.components} component{'s' * (self.components != 1)}",
            f"watertight: {'yes' if self.watertight else openings}, "
            f"manifold: {'yes' if self.manifold else 'no'}" + ("" if self.genus is None else f", genus {self.genus}"),
        ]


def report_mesh(mesh: Mesh) -> MeshReport:
    """Counts the facts of `MeshReport`."""
    faces = mesh.faces.cpu().numpy().astype(np.int64).reshape(-1, 3)
    count = mesh.vertices.shape[0]
    used = np.unique(faces)
    directed, edges, edge_of, uses, forward = edges_of(faces, count)
    consistent = bool((forward <= 1).all() and (uses - forward <= 1).all())
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    watertight = len(faces) > 0 and bool((uses == 2).all()) and consistent and not repeated.any()
    manifold = bool((uses <= 2).all()) and not repeated.any() and _one_fan_a_vertex(directed, edge_of, faces)
    border = directed[uses[edge_of] == 1]
    components = len(np.unique(vertex_components(mesh)[used]))
    euler = len(used) - len(edges) + len(faces)
    areas = face_vectors(mesh).norm(dim=1) / 2
    corners = mesh.vertices.double().cpu()[torch.from_numpy(used)]
    box = (corners.amin(0).tolist(), corners.amax(0).tolist()) if len(used) else ([0.0] * 3, [0.0] * 3)
    return MeshReport(
        vertices=count,
        faces=len(faces),
        components=components,
        boundary_edges=int((uses == 1).sum()),
        boundaries=len(np.unique(_labels(count, border)[border])),
        manifold=manifold,
        consistent=consistent,
        watertight=watertight,
        degenerate_faces=int(((areas == 0).cpu().numpy() | repeated).sum()),
        unused_vertices=count - len(used),
        euler=euler,
        genus=components - euler // 2 if watertight and manifold else None,
        area=float(areas.sum()),
        volume=float(face_volumes(mesh).sum()),
        minimum=tuple(box[0]),
        maximum=tuple(box[1]),
    )


def face_volumes(mesh: Mesh) -> Float[Tensor, "F"]:
    """Of the tetrahedra of each face and the mean vertex, so that distant meshes keep their digits; float64, signed."""
    vertices = mesh.vertices.double()
    a, b, c = (vertices - vertices.mean(0))[mesh.faces.long()].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum(1) / 6


def vertex_components(mesh: Mesh) -> np.ndarray:
    """The number of the connected piece that each vertex belongs to, int32."""
    faces = mesh.faces.cpu().numpy().reshape(-1, 3)
    return _labels(mesh.vertices.shape[0], faces[:, [0, 1]], faces[:, [1, 2]])


def _labels(nodes: int, *links: np.ndarray) -> np.ndarray:
    pairs = np.concatenate(links)
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1]


def edges_of(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sides of faces and the edges that they make.

    Args:
        faces: vertex indices.
        count: of the vertices.

    Returns:
        Of each half edge (side n of face f at ``3 f + n``) its start and end and the number of its edge; of each edge
        its key (``smaller index * count + larger index``, ascending), and how many sides run through it in all and from
        the smaller index to the larger one. In the order: half edges, keys, edge of a half edge, sides, sides forward.
    """
    # of 32 bits, products of two indices would run over
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    low, high = directed.min(axis=1), directed.max(axis=1)
    keys, edge_of, uses = np.unique(low * max(count, 1) + high, return_inverse=True, return_counts=True)
    forward = np.bincount(edge_of, weights=directed[:, 0] < directed[:, 1], minlength=len(keys))
    return directed, keys, edge_of, uses, forward


def _one_fan_a_vertex(directed: np.ndarray, edge_of: np.ndarray, faces: np.ndarray) -> bool:
    """Corners of faces around a vertex, linked across shared edges, are one piece a vertex."""
    if not len(faces):
        return True
    fans = corner_fans(directed, edge_of, faces)
    owners = np.unique(np.stack([fans, faces.reshape(-1)], axis=1), axis=0)[:, 1]
    return len(owners) == len(np.unique(owners))


def corner_fans(directed: np.ndarray, edge_of: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The number of the fan that each corner of each face belongs to: corners at a vertex, linked across edges.

    Args:
        directed, edge_of: of `edges_of`.
        faces: vertex indices, at least one face.
    """
    # half edge h runs from corner h to the next corner of its face
    start = np.arange(faces.size)
    end = start.reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    flipped = directed[:, 0] > directed[:, 1]
    at_low, at_high = np.where(flipped, end, start), np.where(flipped, start, end)
    order = np.argsort(edge_of, kind="stable")
    shared = edge_of[order][1:] == edge_of[order][:-1]
    first, second = order[:-1][shared], order[1:][shared]
    links = [np.stack([at[first], at[second]], axis=1) for at in (at_low, at_high)]
    return _labels(faces.size, *links)
