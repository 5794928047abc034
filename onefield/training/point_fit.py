"""Fitting a field of signed distances to a cloud of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.fields.composed import ComposedField
from onefield.fields.field import Field
from onefield.fields.gradients import spatial_gradient
from onefield.fields.mesh_distance import MeshDistance
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.losses.eikonal import eikonal
from onefield.losses.surface_points import normal_alignment, off_surface
from onefield.meshing.cleanup import keep_large_components
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.poisson import poisson_mesh
from onefield.meshing.report import report_mesh
from onefield.training.grid_pull import pull_grid
from onefield.training.point_orientation import orient
from onefield.training.recipes import COMPLETION_NAMES, Recipe, Target, build_field
from onefield.types import Mesh

# Pieces of less than this part of the largest one's area come from noise.
_LEAST_PIECE = 1e-3
_RESOLUTION = 256
# Four cells for each of a volume's, two for each of a plane's: finer ones show nothing new.
_COMPLETION_RESOLUTION = 128
# Weights of Sitzmann et al. 2020 on distances in halves of the domain's side, all divided by 50.
_ON_SURFACE, _OFF_SURFACE, _ALIGNMENT, _EIKONAL = 60.0, 2.0, 2.0, 1.0
_OFF_LENGTH = 0.01
# Queries about the points spread by this part of the domain's side: there the slope matters most.
_NEAR = 0.02
# Points of a batch whose distance the mesh is scored by.
_SCORED = 2**16


@dataclass(frozen=True)
class OrientedPoints:
    """Points with outward normals.

    Attributes:
        points: with normals, and notes on what was done to them.
        areas: of surface for which each point stands, in parts of the domain's side squared.
    """

    points: Points
    areas: np.ndarray


def oriented(points: Points) -> OrientedPoints:
    """Points with their normals where these agree on a side, turned outward, and else with estimated ones.

    Raises:
        DataError: all points lie on a plane.
    """
    points.check_solid()
    cloud = points.cloud
    unit = points.domain.to_unit(cloud.points.double()).numpy()
    found = orient(unit, None if cloud.normals is None else cloud.normals.double().numpy())
    notes = []
    if found.flipped:
        notes.append("The normals point inward and were turned round.")
    if found.doubted:
        notes.append("The normals disagree on which side is outside, so their sides were decided anew.")
    return OrientedPoints(points.with_normals(torch.from_numpy(found.normals).float(), *notes), found.areas)


def pulled_field(
    given: OrientedPoints,
    recipe: Recipe,
    target: Target,
    *,
    seed: int,
    observe: Callable[[str], None] | None,
) -> tuple[ComposedField, Recipe, dict[str, float]]:
    """A dense grid of distances by `pull_grid`, the recipe that builds it, and what was found of the cloud.

    Returns:
        Figures: ``smoothing`` and ``noise``, the held-out points' deviation, both in parts of the cloud's diagonal.
    """
    points = given.points
    unit = points.domain.to_unit(points.cloud.points.double()).numpy()
    normals = points.cloud.normals.double().numpy()
    pulled = pull_grid(unit, normals, given.areas, seed=seed, observe=observe)
    sized = replace(recipe, options=recipe.options | {"vertices": pulled.distances.shape[0]})
    field = build_field(sized.field, sized.options, target)
    with torch.no_grad():
        grid = field.encoding.grid
        head = field.heads["distance"]
        # the head adds a sphere to what the grid holds
        axis = torch.linspace(0, 1, grid.shape[0])
        for plane, x in enumerate(axis):
            corners = torch.stack(torch.meshgrid(x[None], axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
            sphere = head(torch.zeros(len(corners), 1), None, points.domain.from_unit(corners))
            wanted = torch.from_numpy(pulled.distances[plane]).reshape(-1) * points.scale
            grid[plane] = ((wanted - sphere) / target.scale).reshape(grid.shape[1:])
    relative = points.scale / points.diagonal
    return field, sized, {"smoothing": pulled.smoothing * relative, "noise": pulled.deviation * relative}


def poisson_field(points: Points, recipe: Recipe) -> tuple[MeshDistance, Recipe]:
    """Distances to what `poisson_mesh` makes of the points, and the recipe that builds the field.

    Raises:
        DataError: all points lie on a plane, or no surface was found.
    """
    points.check_solid()
    mesh = poisson_mesh(points.cloud, int(recipe.options["depth"]))
    sizes = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    return MeshDistance(points.domain, mesh.vertices, mesh.faces), replace(recipe, options=recipe.options | sizes)


class PointSource:
    """Batches of points, where the distance is 0 and rises along the normal, and of space around them."""

    def __init__(self, points: Points, generator: torch.Generator) -> None:
        self._points = points
        self._generator = generator

    def loss(self, field: Field, batch: int) -> Tensor:
        third = max(1, batch // 3)
        cloud, domain = self._points.cloud, self._points.domain
        half_side = self._points.scale / 2
        picked = torch.randint(len(cloud.points), (third,), generator=self._generator)
        on = cloud.points[picked]
        near = on + _NEAR * self._points.scale * torch.randn(on.shape, generator=self._generator)
        space = domain.from_unit(torch.rand(on.shape, generator=self._generator))
        everywhere = torch.cat([on, near, space])
        distances = field.query(torch.cat([on, space]), want=("distance",)).distance / half_side
        slopes = spatial_gradient(field, everywhere, "distance", create_graph=True)
        return (
            _ON_SURFACE * distances[:third].abs().mean()
            + _OFF_SURFACE * off_surface(distances[third:], _OFF_LENGTH)
            + _ALIGNMENT * normal_alignment(slopes[:third], cloud.normals[picked])
            + _EIKONAL * eikonal(slopes)
        )


def surface_of(field: Field, recipe: Recipe | None) -> Mesh:
    """The closed surface without crumbs; a dense grid's at its own corners."""
    resolution = _RESOLUTION
    if recipe is not None and recipe.field == "dense":
        resolution = int(recipe.options["vertices"]) - 1
    elif recipe is not None and recipe.field in COMPLETION_NAMES:
        resolution = _COMPLETION_RESOLUTION
    mesh = extract_mesh(field, resolution=resolution)
    return keep_large_components(mesh, _LEAST_PIECE)


def score_points(mesh: Mesh, points: Points, generator: torch.Generator) -> dict[str, float]:
    """How near the mesh comes to the points, and whether it is sound.

    Returns:
        ``point_distance`` (mean distance of points from the mesh, in parts of the cloud's diagonal), ``watertight`` (1
        or 0), ``faces``, ``components``, ``area`` and ``volume``.
    """
    positions = points.cloud.points
    if len(positions) > _SCORED:
        positions = positions[torch.randint(len(positions), (_SCORED,), generator=generator)]
    nearest, _ = closest_point(positions, build_tree(mesh.vertices, mesh.faces))
    report = report_mesh(mesh)
    return {
        "point_distance": (positions - nearest).norm(dim=-1).mean().item() / points.diagonal,
        "watertight": float(report.watertight),
        "faces": float(report.faces),
        "components": float(report.components),
        "area": report.area,
        "volume": report.volume,
    }
