"""Pictures of a shape from all sides, as what a surface of FlexiCubes is fitted to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.signals import Shape
from onefield.fields.flexicubes import FlexiCubes
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.kernels.silhouettes import face_neighbours
from onefield.meshing.preview import orbit_camera
from onefield.renderers.mesh_rasterizer import MeshPicture, rasterize_mesh

# Pixels along the side of a picture for each cell along the domain's longest, so that no cell is missed.
PIXELS_A_CELL = 4
# Weights of the loss, lengths in halves of the domain's side: masks and depths as Shen et al. (2023) have them in their
# example, and normals, which say most about edges.
MASK, DEPTH, NORMAL, DEVIATION = 1.0, 10.0, 1.0, 0.5
# Highest elevation of a view, just beside the pole where a camera's horizon is undefined.
_HIGHEST = 0.499 * math.pi


class MeshViews:
    """Pictures of one shape from random views, to which a surface's pictures are held."""

    def __init__(self, shape: Shape, resolution: int, generator: torch.Generator) -> None:
        """Draws views of a shape.

        Args:
            resolution: cells along the domain's longest side, of the surface that is fitted.
        """
        self._shape = shape
        self._faces = shape.mesh.faces.long()
        self._neighbours = face_neighbours(self._faces)
        self._size = PIXELS_A_CELL * resolution
        self._generator = generator

    def loss(self, field: FlexiCubes, batch: int) -> Tensor:
        """Of as many views as ``batch`` says: masks, depths and normals, and the surface's deviations."""
        half = self._shape.scale / 2
        surface = field.surface("center")
        neighbours = face_neighbours(surface.faces)
        loss = DEVIATION * surface.deviations.mean() / half
        for _ in range(batch):
            camera = self._camera()
            with torch.no_grad():
                truth = rasterize_mesh(
                    self._shape.mesh.vertices.float(), self._faces, camera, neighbours=self._neighbours
                )
            seen = rasterize_mesh(surface.vertices, surface.faces, camera, neighbours=neighbours)
            loss = loss + picture_loss(seen, truth, half) / batch
        return loss

    def _camera(self) -> Cameras:
        across, up = torch.rand(2, generator=self._generator, dtype=torch.float64).tolist()
        elevation = max(-_HIGHEST, min(_HIGHEST, math.asin(2 * up - 1)))
        side = self._size
        return orbit_camera(
            self._shape.mesh, width=side, height=side, azimuth=2 * math.pi * across, elevation=elevation
        )


def picture_loss(seen: MeshPicture, truth: MeshPicture, unit: float) -> Tensor:
    """How much two pictures of one view differ: masks and normals in the mean over pixels, depths where both show one.

    Args:
        unit: world units that a depth is measured in.
    """
    mask = (seen.mask - truth.mask).abs().mean()
    both = (seen.faces >= 0) & (truth.faces >= 0)
    depth = torch.where(both, (seen.depth - truth.depth).abs(), 0.0).mean() / unit
    normal = (seen.normal - truth.normal).square().sum(2).mean() / 2
    return MASK * mask + DEPTH * depth + NORMAL * normal


def start_at(field: FlexiCubes, shape: Shape) -> None:
    """Starts FlexiCubes at a shape's signed distances, on an octree with small leaves where the shape bends."""
    if isinstance(field, OctreeFlexiCubesField):
        for _ in range(field.halvings):
            field.refine(shape.distance)
        return
    distances = shape.distance(field.rest_points().reshape(-1, 3)).reshape(field.values.shape)
    with torch.no_grad():
        field.values.copy_(distances / field.cell_side)
