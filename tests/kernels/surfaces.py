"""What the tests of extractors ask of a surface, counted from its vertices and faces alone."""

import numpy as np
import torch

from onefield.kernels.marching_cubes_tables import CORNERS


def edge_uses(faces):
    """Directed edges and how often each occurs."""
    directed = faces.numpy()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return np.unique(directed, axis=0, return_counts=True)


def assert_closed_manifold(vertices, faces):
    edges, counts = edge_uses(faces)
    assert (counts == 1).all(), "an edge is used twice in one direction"
    assert np.array_equal(edges, np.unique(edges[:, ::-1], axis=0)), "an edge has a face on one side only"
    # one fan a vertex: the next-vertex map around it is a single cycle
    turns = torch.cat([faces.roll(-shift, dims=1) for shift in range(3)]).tolist()
    following = {(a, b): c for a, b, c in turns}
    degree = np.bincount(edges[:, 0], minlength=len(vertices))
    assert (degree > 0).all(), "a vertex belongs to no face"
    first = dict(edges.tolist())
    for vertex, start in first.items():
        around, steps = following[vertex, start], 1
        while around != start:
            around, steps = following[vertex, around], steps + 1
        assert steps == degree[vertex], "two fans meet in one vertex"


def single_cells():
    """Volumes whose middle cell has each of the 255 signs but outside alone, all of size 1."""
    for case in range(1, 256):
        volume = torch.ones(4, 4, 4)
        for corner, offset in enumerate(CORNERS.tolist()):
            if case >> corner & 1:
                volume[tuple(o + 1 for o in offset)] = -1.0
        yield volume


def random_volume(kind, shape, seed):
    """``noise``, or ``integers``, of which many equal the isovalue 0."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "noise":
        return torch.rand(shape, generator=generator) - 0.5
    return torch.randint(-1, 2, shape, generator=generator).float()


def signed_volume(vertices, faces):
    a, b, c = vertices.double()[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def area(vertices, faces):
    a, b, c = vertices.double()[faces].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2)


def euler(vertices, faces):
    return len(vertices) - len(edge_uses(faces)[0]) // 2 + len(faces)


def padded(volume):
    return torch.nn.functional.pad(volume, (1,) * 6, value=1.0)


def grid(size, half_extent=1.0):
    axis = torch.linspace(-half_extent, half_extent, size)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
