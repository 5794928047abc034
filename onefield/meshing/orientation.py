"""Faces turned so that neighbours agree on a side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from onefield.meshing.report import edges_of
from onefield.types import Mesh


def turned_alike(mesh: Mesh) -> Mesh:
    """The mesh with faces turned so that each two that share an edge run through it in opposite directions.

    Of a piece's two sides the one is outside that looks away from its middle. Edges of more than two faces hand nothing
    on; a piece with one side only (a Moebius strip) keeps a seam.
    """
    faces = mesh.faces.cpu().numpy().reshape(-1, 3)
    count = len(faces)
    if not count:
        return mesh
    directed, _, edge_of, uses, _ = edges_of(faces, len(mesh.vertices))
    shared = np.flatnonzero(uses[edge_of] == 2)
    shared = shared[np.argsort(edge_of[shared], kind="stable")].reshape(-1, 2)
    first, second = shared[:, 0] // 3, shared[:, 1] // 3
    # nodes f and f + count are face f as it is and turned round; agreeing choices are joined
    turned = np.where((directed[shared[:, 0]] == directed[shared[:, 1]]).all(axis=1), count, 0)
    ends = (np.r_[first, first + count], np.r_[second + turned, second + count - turned])
    graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(2 * count, 2 * count))
    _, label = connected_components(graph, directed=False)
    flipped = label[:count] > label[count:]
    # a piece goes by the lesser of its two labels
    piece = np.minimum(label[:count], label[count:])
    agreed = np.where(flipped[:, None], faces[:, ::-1], faces)
    inside_out = _volumes(mesh.vertices.detach().double().cpu().numpy(), agreed, piece) < 0
    whole = np.where(inside_out[piece][:, None], agreed[:, ::-1], agreed)
    return replace(mesh, faces=torch.from_numpy(np.ascontiguousarray(whole)).to(mesh.faces))


def _volumes(positions: np.ndarray, faces: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Signed volume between each piece and the mean of its corners."""
    corners = positions[faces]
    sizes = np.bincount(piece)
    centers = np.stack([np.bincount(piece, corners.mean(axis=1)[:, n]) for n in range(3)], axis=1)
    corners = corners - (centers / np.maximum(sizes, 1)[:, None])[piece][:, None]
    return np.bincount(piece, np.linalg.det(corners))
