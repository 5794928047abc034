"""The surface of a trained method as a mesh: its own, or by the extractor that serves its field and scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError, nearest_name
from onefield.export.arrays import has_border
from onefield.fields.shaded_surface import HasSurface
from onefield.kernels.system import memory_available
from onefield.meshing.cleanup import (
    decimate,
    fill_cavities,
    keep_large_components,
    remove_degenerate_faces,
    select_faces,
)
from onefield.meshing.colors import color_vertices
from onefield.meshing.lattice import Lattice
from onefield.meshing.level_sets import LEVEL_SET_EXTRACTORS, extract, suggest_isovalue
from onefield.meshing.repair import close_holes, part_sheets
from onefield.meshing.tsdf import TRUNCATION, DepthView, check_memory, fuse_views
from onefield.training.depth_views import (
    MOST_VIEWS,
    depth_cameras,
    depth_views,
    first_look,
    seen_bounds,
    typical_spread,
)
from onefield.training.memory import rendering_need, require
from onefield.training.method import Method
from onefield.types import Bounds, Mesh

EXTRACTORS = ("auto", *LEVEL_SET_EXTRACTORS, "flexicubes", "tsdf")
# Floaters of a radiance field are far smaller than a hundredth of what was photographed.
SMALLEST_COMPONENT = 0.01
# Holes of a fiftieth of the mesh are places that no view happened to see; larger ones are where nobody looked.
LARGEST_HOLE = 0.02
# Size of pixels, in cells, at the middle of what is fused: many views together know more than each, and half the size
# takes four times as long for about the same surface.
PIXEL = 2.0
# Depths are fused over so many of their typical spread where that is wider than the usual truncation, since views see a
# surface that the field has left soft at depths that differ; and over so many cells at most.
SPREADS, MOST_TRUNCATION = 2.0, 12.0
# Length of the mean direction to the cameras from which on they count as standing on one side: directions spread evenly
# over a hemisphere have 0.5, over a cone of 53 degrees about its axis 0.8.
ONE_SIDED = 0.8


@dataclass(frozen=True)
class Choice:
    """An extractor and, in one sentence, why it was taken."""

    extractor: str
    reason: str


@dataclass(frozen=True)
class Surface:
    """A clean coloured surface in the frame of the scene.

    Attributes:
        choice: how it was extracted.
        isovalue: of the level that was extracted; None where views were fused.
        clipped: it reached the border of the bounds and was closed there; a fused one is open there.
        views: how many were fused; 0 where none was.
        detailed: the mesh before it was simplified; None where that is the mesh itself.
    """

    mesh: Mesh
    choice: Choice
    isovalue: float | None = None
    clipped: bool = False
    views: int = 0
    detailed: Mesh | None = None


def choose_extractor(method: Method, scene: Scene, asked: str = "auto", isovalue: float | None = None) -> Choice:
    """Marching cubes where the field says what is solid, fusion of depth where only what was seen can be believed.

    A field that is a surface has a mesh of its own.

    Args:
        asked: one of `EXTRACTORS`.
        isovalue: where one was given; only a level set has one.

    Raises:
        UsageError: an unknown name, an isovalue for fused depth, a renderer without depth to fuse, or a field without
            a mesh of its own.
    """
    if asked not in EXTRACTORS:
        raise UsageError(f"Unknown extractor '{asked}': {nearest_name(asked, EXTRACTORS)}.")
    if asked == "tsdf" and isovalue is not None:
        raise UsageError("Fused depth has no isovalue; leave --isovalue out, or take --extractor marching-cubes.")
    if asked == "flexicubes" and not isinstance(method.field, HasSurface):
        name = type(method.field).__name__
        raise UsageError(f"{name} is no surface of FlexiCubes with a mesh of its own; leave --extractor out.")
    if asked == "flexicubes" and isovalue is not None:
        raise UsageError("A surface of FlexiCubes has no isovalue; leave --isovalue out.")
    measures_depth = method.renderer.gives_quantiles
    if asked == "tsdf" and not measures_depth:
        raise UsageError(
            f"Fusion needs a renderer that says how deep light reaches; {type(method.renderer).__name__} does not. "
            "Take --extractor marching-cubes."
        )
    if asked != "auto":
        return Choice(asked, "as asked")
    if isovalue is not None:
        return Choice("marching-cubes", "an isovalue was given")
    if isinstance(method.field, HasSurface):
        return Choice("flexicubes", "the field is a surface, whose mesh was trained")
    if method.renderer.only_surfaces:
        return Choice("tsdf", "surfels have no inside, so that only their depth says where a surface is")
    solid = next((quantity for quantity in ("distance", "occupancy") if quantity in method.field.provides), None)
    if solid is not None:
        return Choice("marching-cubes", f"the field has {solid}, which says where its surface is")
    if not len(scene.train_indices):
        return Choice("marching-cubes", "no cameras say what was seen")
    if scene.bounded and not seen_from_one_side(scene):
        return Choice("marching-cubes", "the scene is bounded, so that what is dense is the object")
    if not measures_depth:
        return Choice("marching-cubes", "its renderer does not say how deep the light reaches")
    if scene.bounded:
        return Choice("tsdf", "all cameras stand on one side, and behind what they saw a density is anything")
    return Choice("tsdf", "in an open scene a density is fog wherever no camera looked, so only what they saw counts")


def seen_from_one_side(scene: Scene) -> bool:
    """Whether the training cameras stand in a narrow cone as seen from the middle of the region of interest."""
    middle = scene.cameras.positions.new_tensor(scene.bounds.center)
    towards = scene.cameras.positions[scene.train_indices] - middle
    return float(torch.nn.functional.normalize(towards, dim=-1).mean(0).norm()) > ONE_SIDED


def method_surface(
    method: Method,
    scene: Scene,
    choice: Choice,
    *,
    bounds: Bounds | None = None,
    resolution: int = 256,
    isovalue: float | None = None,
    faces: int = 0,
    smallest: float = SMALLEST_COMPONENT,
    holes: float = LARGEST_HOLE,
    most_views: int = MOST_VIEWS,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> Surface:
    """Extracts a method's surface, cleans and colours it.

    Args:
        choice: of `choose_extractor`.
        bounds: box of the scene's frame to extract in; None takes the region of interest or, to fuse views of an open
            scene, what these see.
        resolution: cells along an edge of the region of interest; given bounds have cells of the same size, and what
            the views see has as many cells as the region would have. A field's own mesh is as it was trained.
        isovalue: of the level set; None chooses one from the field.
        faces: simplify to about so many, where there are more; 0 keeps all.
        smallest: pieces below this share of the largest one's area are dropped.
        holes: those whose box has a diagonal of at most this share of the mesh's are closed.
        most_views: to fuse.
        observe: told how many views are fused, of how many.

    Raises:
        UsageError: the resolution is below 1.
        DataError: there is no surface.
        ResourceError: less memory is available than the grid or the pictures take.
    """
    if resolution < 1:
        raise UsageError(f"A mesh needs a resolution of at least 1 cell, got {resolution}.")
    if choice.extractor == "tsdf":
        surface = _fused(method, scene, choice, bounds, resolution, most_views, observe)
    elif choice.extractor == "flexicubes":
        surface = _own(method, scene, choice, bounds)
    else:
        surface = _level_set(method, scene, choice, bounds, resolution, isovalue)
    detailed = cleaned(surface.mesh, smallest, holes)
    mesh = simplified(detailed, faces, smallest, holes)
    if mesh.colors is None:
        mesh = color_vertices(mesh, method.field, reach=color_reach(scene, resolution))
    simpler = len(mesh.faces) < len(detailed.faces)
    return Surface(mesh, choice, surface.isovalue, surface.clipped, surface.views, detailed if simpler else None)


def color_reach(scene: Scene, resolution: int) -> float:
    """How deep into a density its colour is looked for, world units: a cell."""
    return max(scene.bounds.extent) / resolution


def cleaned(mesh: Mesh, smallest: float, holes: float) -> Mesh:
    """A manifold mesh without small pieces, small holes and cavities; see `method_surface` for what is small."""
    # where sheets meet, pieces that were one come apart
    parted = part_sheets(keep_large_components(remove_degenerate_faces(mesh), smallest))
    return fill_cavities(close_holes(keep_large_components(parted, smallest), holes))


def simplified(mesh: Mesh, faces: int, smallest: float, holes: float) -> Mesh:
    """A clean mesh of about so many faces, the same one where it has no more; 0 keeps all. What is closed stays so."""
    if not faces or len(mesh.faces) <= faces:
        return mesh
    # holes of a closed mesh are those that simplifying and parting tore, whatever their size
    closed = not has_border(mesh.faces.cpu().numpy())
    return cleaned(decimate(mesh, faces), smallest, 1.0 if closed else holes)


def _memory() -> int:
    """Bytes for a grid: the mesh and its colours take about as much again."""
    return memory_available() // 2


def _level_set(
    method: Method, scene: Scene, choice: Choice, bounds: Bounds | None, resolution: int, isovalue: float | None
) -> Surface:
    box = scene.bounds if bounds is None else bounds
    # a crop must not move the surface: its level is that of the whole, and its cells are as large
    level = suggest_isovalue(method.field, bounds=scene.bounds) if isovalue is None else isovalue
    cells = max(1, round(resolution * max(box.extent) / max(scene.bounds.extent)))
    extraction = extract(
        method.field,
        resolution=cells,
        isovalue=level,
        bounds=box,
        extractor=choice.extractor,
        memory_budget=_memory(),
    )
    return Surface(extraction.mesh, choice, level, extraction.clipped)


def _own(method: Method, scene: Scene, choice: Choice, bounds: Bounds | None) -> Surface:
    """The mesh that was trained, without the faces that reach out of given bounds."""
    assert isinstance(method.field, HasSurface)
    mesh = method.field.mesh()
    if bounds is not None:
        mesh = select_faces(mesh, bounds.contains(mesh.vertices)[mesh.faces].all(dim=1))
    if not len(mesh.faces):
        where = "" if bounds is None else " within the bounds"
        raise DataError(f"The surface that was trained on {scene.name} has no face{where}; there is nothing to export.")
    return Surface(mesh, choice)


def _fused(
    method: Method,
    scene: Scene,
    choice: Choice,
    bounds: Bounds | None,
    resolution: int,
    most_views: int,
    observe: Callable[[int, int], None],
) -> Surface:
    look = first_look(method, scene)
    box = scene.bounds if bounds is None else bounds
    cell = max(scene.bounds.extent) / resolution
    if bounds is None and not scene.bounded:
        box = seen_bounds(look, scene)
        cell *= (math.prod(box.extent) / math.prod(scene.bounds.extent)) ** (1 / 3)
    lattice = Lattice.over(box, max(1, round(max(box.extent) / cell)))
    check_memory(lattice, resolution, _memory())
    cell = max(lattice.spacing)
    truncation = min(max(TRUNCATION, SPREADS * typical_spread(look) / cell), MOST_TRUNCATION)
    cameras = depth_cameras(method, scene, box, PIXEL * cell, most_views)
    if len(cameras):
        require(rendering_need(cameras), "Rendering the training views", "take a lower --resolution")

    def watched() -> Iterator[DepthView]:
        observe(0, len(cameras))
        for done, view in enumerate(depth_views(method, scene, cameras, box, truncation * cell), start=1):
            yield view
            observe(done, len(cameras))

    fusion = fuse_views(watched(), box, resolution=max(lattice.cells), truncation=truncation, memory_budget=_memory())
    return Surface(fusion.mesh, choice, views=fusion.views)
