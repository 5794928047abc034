"""Fields given by functions, and surfaces with textures, for tests of what makes and what writes meshes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from onefield.fields.analytic import SphereField
from onefield.fields.field import Field
from onefield.meshing.atlas import unwrap
from onefield.meshing.geometry import vertex_normals
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.normal_map import corner_tangents, tangent_normals
from onefield.meshing.texture import picture_of, texels_of
from onefield.types import Bounds, Mesh, Sample, Texture

RADIUS = 0.6


def waves(points: Tensor) -> Tensor:
    """A colour at each point, smooth over a few texels and not the same anywhere near."""
    return 0.5 + 0.45 * torch.sin(3 * points + torch.tensor([0.0, 1.0, 2.0]))


def textured_ball(size: int = 256, resolution: int = 16, normal_map: bool = False) -> Mesh:
    """A ball with colours of `waves`, and normals of a finer ball."""
    pytest.importorskip("xatlas")
    mesh = extract_mesh(SphereField(RADIUS), resolution=resolution)
    mesh = replace(mesh, normals=vertex_normals(mesh))
    coordinates = unwrap(mesh, size)
    texels = texels_of(mesh, coordinates, size)
    texture = Texture(coordinates, picture_of(texels, waves(texels.points)))
    if normal_map:
        fine = extract_mesh(SphereField(RADIUS), resolution=4 * resolution)
        fine = replace(fine, normals=torch.nn.functional.normalize(fine.vertices, dim=1))
        tangents = corner_tangents(mesh, coordinates)
        normals = picture_of(texels, tangent_normals(mesh, tangents, texels, fine))
        texture = replace(texture, normals=normals, tangents=tangents)
    return replace(mesh, texture=texture)


def random_places(mesh: Mesh, count: int = 4000) -> tuple[Tensor, Tensor]:
    """Faces and barycentric weights, uniform over the faces."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.randint(len(mesh.faces), (count,), generator=generator)
    first, second = torch.rand(count, generator=generator).sqrt(), torch.rand(count, generator=generator)
    return faces, torch.stack([1 - first, first * (1 - second), first * second], dim=1)


class FunctionField(Field):
    """One quantity given by a function of points."""

    def __init__(self, quantity, function, domain=None):
        super().__init__()
        self.domain = domain or Bounds.cube(1.0)
        self.provides = frozenset({quantity})
        self.quantity = quantity
        self.function = function
        self.largest_batch = 0

    def _evaluate(self, points, directions, time, want):
        self.largest_batch = max(self.largest_batch, points.shape[0])
        return Sample(**{self.quantity: self.function(points)})
