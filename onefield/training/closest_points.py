"""Fitting a field of closest points to a surface that may be open.

Source: Venkatesh et al., "Deep implicit surface point prediction networks" (2021), section 3: a network is taught the
closest point of the surface by the squared error alone. Two things are done differently. Squares are divided by the
distance, so that near the surface, where meshes come from, errors count as much as far from it. And of a cloud the
nearest point of small discs about its points is taught instead of the nearest point itself, which is off by the cloud's
spacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape
from onefield.fields.field import Field
from onefield.kernels.point_mesh import closest_point
from onefield.meshing.cleanup import keep_large_components
from onefield.meshing.level_sets import extract_mesh
from onefield.training.point_orientation import levelled, normal_axes
from onefield.types import Bounds, Mesh

# Nearest points of a cloud among whose discs the nearest is sought.
_CANDIDATES = 4
# Points asked of the tree at once.
_CHUNK = 2**16
# Deviations of samples about the surface, in parts of the domain's side: of a third of them, and of the others.
_WIDE, _NARROW = 0.02, 0.002
# Distances below this part of half the domain's side weigh alike.
_NEAR = 0.01
# Samples with known closest points, of which each step draws a batch, and how often each is drawn in short fits.
_POOL, _REUSE = 2**19, 8
_HELD_OUT = 2**14
# Pieces of less than this part of the largest one's area come from noise.
_LEAST_PIECE = 1e-2


@dataclass(frozen=True)
class Discs:
    """A cloud as discs that cover its surface.

    Attributes:
        tree: of the points.
        axes: normals of either sign.
        radius: of each disc: as large as the surface for which the median point stands.
    """

    tree: cKDTree
    axes: Float[np.ndarray, "N 3"]
    radius: float

    @staticmethod
    def of(points: Points) -> Discs:
        """Discs across the cloud's normals, or across estimated ones where it has none; noisy points are levelled."""
        positions = levelled(points.cloud.points.double().numpy())
        tree = cKDTree(positions)
        axes, areas = normal_axes(positions, tree)
        if points.cloud.normals is not None:
            axes = points.cloud.normals.double().numpy()
        return Discs(tree, axes, math.sqrt(float(np.median(areas)) / math.pi))

    def closest(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """The nearest point of all discs, sought about the nearest points of the cloud."""
        return torch.cat([self._closest(part) for part in points.split(_CHUNK)])

    def _closest(self, points: Tensor) -> Tensor:
        places = points.double().numpy()
        _, nearest = self.tree.query(places, k=_CANDIDATES)
        middles, axes = self.tree.data[nearest], self.axes[nearest]
        away = places[:, None] - middles
        across = away - axes * (away * axes).sum(-1, keepdims=True)
        length = np.linalg.norm(across, axis=-1, keepdims=True)
        found = middles + across * np.minimum(1.0, self.radius / np.maximum(length, self.radius))
        best = np.linalg.norm(found - places[:, None], axis=-1).argmin(1)
        return torch.from_numpy(found[np.arange(len(found)), best]).float()


class ClosestPointSource:
    """Batches of points with the closest points of a surface: a quarter anywhere, the others about the surface."""

    def __init__(self, surface: Shape | Points, draws: int, generator: torch.Generator) -> None:
        self._generator = generator
        self._half_side = surface.scale / 2
        self._points = _samples(surface, min(_POOL, max(1, draws // _REUSE)), generator)
        self._closest = _closest(surface, self._points)

    def loss(self, field: Field, batch: int) -> Tensor:
        picked = torch.randint(len(self._points), (batch,), generator=self._generator)
        points, truth = self._points[picked], self._closest[picked]
        answer = field.query(points, want=("closest_point",)).closest_point
        distance = (truth - points).norm(dim=-1) / self._half_side
        return ((answer - truth).square().sum(-1) / self._half_side**2 / (distance + _NEAR)).mean()


def _closest(surface: Shape | Points, points: Tensor) -> Tensor:
    if isinstance(surface, Points):
        return Discs.of(surface).closest(points)
    return closest_point(points, surface.tree)[0]


def _samples(surface: Shape | Points, count: int, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    domain: Bounds = surface.domain
    anywhere = domain.from_unit(torch.rand(count // 4, 3, generator=generator))
    rest = count - len(anywhere)
    if isinstance(surface, Points):
        cloud = surface.cloud.points
        on = cloud[torch.randint(len(cloud), (rest,), generator=generator)]
    else:
        on = surface.surface_points(rest, generator)
    width = torch.full((rest, 1), _NARROW * surface.scale)
    width[: rest // 3] = _WIDE * surface.scale
    return torch.cat([anywhere, on + width * torch.randn(on.shape, generator=generator)])


def open_surface_of(field: Field, resolution: int) -> Mesh:
    """The surface of a field of closest points without crumbs, open where it ends."""
    return keep_large_components(extract_mesh(field, resolution=resolution), _LEAST_PIECE)


@torch.no_grad()
def score_closest_points(field: Field, surface: Shape | Points, generator: torch.Generator) -> dict[str, float]:
    """How near a field comes to a surface, in parts of the diagonal of the surface's box.

    Returns:
        ``point_distance``, the mean distance of held-out places on the surface (of a cloud: of its points) from the
        points that the field takes them to, and ``closest_point_error``, the mean distance between the field's closest
        point and the true one (of a cloud: its discs') at held-out places about the surface.
    """
    corners = surface.cloud.points if isinstance(surface, Points) else surface.mesh.vertices[surface.mesh.faces.long()]
    flat = corners.reshape(-1, 3)
    diagonal = float((flat.amax(0) - flat.amin(0)).norm())
    near = _samples(surface, _HELD_OUT, generator)[_HELD_OUT // 4 :]
    if isinstance(surface, Points):
        on = flat[torch.randint(len(flat), (_HELD_OUT,), generator=generator)]
    else:
        on = surface.surface_points(_HELD_OUT, generator)
    answer = field.query(near, want=("closest_point",)).closest_point
    error = (answer - _closest(surface, near)).norm(dim=-1).mean().item()
    off = field.query(on, want=("distance",)).distance.mean().item()
    return {"point_distance": off / diagonal, "closest_point_error": error / diagonal}
