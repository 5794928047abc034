"""Configuration of a surface of FlexiCubes with colours: its grid, what it starts from, and its learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError
from onefield.export.formats import read_mesh
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.flexicubes import FlexiCubes, FlexiCubesField, corner_points
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.fields.shaded_surface import ShadedSurface, closed_at_border
from onefield.kernels.point_mesh import build_tree, signed_distance
from onefield.training.method import Strategy
from onefield.training.optimizer import GroupRate
from onefield.training.surface_growth import LeafDivision, SurfaceGrowth, cubic_cells, stage_resolutions
from onefield.training.visual_hull import hull_box, hull_distances
from onefield.types import Bounds, Mesh

# Left free around a mesh to start from, as a share of its longest side.
_ROOM = 0.05


@dataclass(frozen=True)
class SurfaceGrid:
    """FlexiCubes around the visual hull of the photos' outlines, shaded by a hash grid and a network.

    Attributes:
        start: mesh file to start from instead of the hull, in the dataset's coordinates, such as another run's export.
        resolution: cells along the longest edge of the hull's box at the end.
        flatness: makes the grid an octree whose cells are halved only where the surface lies beside what they hold by
            more than this share of a smallest cell, such as 0.05; None halves them all.
        growth_stages: how often cells are halved on the way there.
        growth_end: share of the run at which the last stage is reached.
        levels, features, log2_table_size, base_resolution, finest_resolution: of the hash grid of colours.
        width, hidden_layers, precision: of the network that shades.
        surface_rate: peak learning rate of the grid: values in cells, deformation and weights before activation.
        final_rate: share of it that is left at the end.
    """

    kind: ClassVar[str] = "flexicubes"
    start: str | None = None
    resolution: int = 64
    flatness: float | None = None
    growth_stages: int = 1
    growth_end: float = 0.3
    levels: int = 8
    features: int = 2
    log2_table_size: int = 17
    base_resolution: int = 16
    finest_resolution: int = 512
    width: int = 64
    hidden_layers: int = 2
    precision: str = "full"
    surface_rate: float = 1e-2
    final_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.resolution < 2 or self.growth_stages < 0:
            raise UsageError(
                "field.resolution must be at least 2 and field.growth_stages at least 0, got "
                f"{self.resolution} and {self.growth_stages}."
            )
        if self.flatness is not None and not (math.isfinite(self.flatness) and self.flatness >= 0):
            raise UsageError(f"field.flatness must be at least 0, got {self.flatness}.")
        if not 0 <= self.growth_end <= 1:
            raise UsageError(f"field.growth_end must lie between 0 and 1, got {self.growth_end}.")
        for name in ("surface_rate", "final_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"field.{name} must be positive, got {getattr(self, name)}.")

    def build(self, bounded: bool, extent: float) -> ShadedSurface:
        """A surface of the region without meaning: for what asks about sizes, or loads the values."""
        del bounded, extent
        cells = self.resolution if self.flatness is None else self._first_resolution
        return self._around(self._grid(Bounds.cube(1.0), torch.ones((cells + 1,) * 3)))

    @property
    def _first_resolution(self) -> int:
        return stage_resolutions(self.resolution, self.growth_stages)[0]

    def _grid(self, box: Bounds, values: Float[Tensor, "X Y Z"]) -> FlexiCubes:
        if self.flatness is None:
            return FlexiCubesField(box, values)
        x, y, z = (size - 1 for size in values.shape)
        return OctreeFlexiCubesField.coarse(box, (x, y, z), self.growth_stages, values)

    def started(self, scene: Scene) -> ShadedSurface:
        """The surface that training starts from: the visual hull, or the mesh of ``start``.

        Raises:
            DataError: the scene does not say where the object ends in its photos, its outlines have nothing in common,
                or the mesh can't be read or lies somewhere else.
        """
        require_outlines(scene)
        if self.start is None:
            found, distances = hull_box(scene), partial(hull_distances, scene)
        else:
            mesh = start_mesh(scene, Path(self.start))
            found = mesh_box(mesh, scene.bounds)
            distances = partial(signed_distance, tree=build_tree(mesh.vertices, mesh.faces))
        box, cells = cubic_cells(found, self._first_resolution)
        corners = corner_points(box, cells)
        values = distances(corners.reshape(-1, 3)).reshape(corners.shape[:3])
        return self._around(self._grid(box, closed_at_border(values, max(box.extent) / max(cells))))

    def _around(self, grid: FlexiCubes) -> ShadedSurface:
        encoding = HashGridEncoding(
            3,
            levels=self.levels,
            features=self.features,
            log2_table_size=self.log2_table_size,
            base_resolution=self.base_resolution,
            finest_resolution=self.finest_resolution,
        )
        return ShadedSurface(Bounds.cube(1.0), grid, encoding, self.width, self.hidden_layers, self.precision)

    def rates(self, scene: Scene) -> dict[str, GroupRate]:
        """Learning rates of the groups of parameters that don't learn at those of the run."""
        del scene
        return {"surface": GroupRate(self.surface_rate, skip_zeros=True, final=self.final_rate)}

    def strategies(self, scene: Scene) -> tuple[Strategy, ...]:
        """What makes the cells smaller."""
        del scene
        if self.flatness is None:
            return (SurfaceGrowth(self.resolution, self.growth_stages, self.growth_end),)
        return (LeafDivision(self.flatness, self.growth_stages, self.growth_end),)


def start_mesh(scene: Scene, path: Path) -> Mesh:
    """A mesh file in the scene's frame.

    Raises:
        DataError: it can't be read, or nothing of it lies in the region of interest.
    """
    mesh = read_mesh(path)
    vertices = scene.transform.apply(mesh.vertices).float()
    if not bool(scene.bounds.contains(vertices).any()):
        raise DataError(
            f"{path} lies outside the region that the photos of {scene.path} show; field.start needs a mesh in the "
            "dataset's coordinates, as 'onefield export' writes it without --up and --scale."
        )
    return Mesh(vertices, mesh.faces)


def mesh_box(mesh: Mesh, region: Bounds) -> Bounds:
    """The box of a mesh with some room around it, within a region that it meets."""
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    room = _ROOM * (high - low).max()
    low = torch.maximum(low - room, low.new_tensor(region.minimum))
    high = torch.minimum(high + room, high.new_tensor(region.maximum))
    return Bounds(tuple(low.tolist()), tuple(high.tolist()))


def require_outlines(scene: Scene) -> None:
    """Refuses a scene whose photos don't say where the object ends, or whose cameras bend lines.

    Raises:
        DataError: no alpha, masks that say something else or are missing for some views, or distorted cameras.
    """
    if scene.masks is not None or scene.mask_meaning == "carve":
        raise DataError(
            f"A mesh is optimised by the outlines of what is photographed, but the masks of {scene.path} are taken to "
            f"{scene.mask_meaning}; give --masks alpha where they are white on all of the object and on nothing else."
        )
    if not scene.alpha:
        raise DataError(
            f"A mesh is optimised by the outlines of what is photographed, and the photos of {scene.path} have neither "
            "alpha nor masks; add masks of the object (a folder masks/ beside the photos) and give --masks alpha, or "
            "train with '--method sdf'."
        )
    if scene.mask_meaning == "alpha" and scene.masked_views < len(scene):
        raise DataError(
            f"Only {scene.masked_views} of the {len(scene)} photos of {scene.path} have a mask; add the others, or "
            "take photos without a mask out."
        )
    if scene.cameras.distorted or scene.cameras.skewed:
        raise DataError(
            f"A mesh is drawn by cameras without distortion or skew, which {scene.path} has; undistort its photos with "
            "COLMAP's image_undistorter."
        )
