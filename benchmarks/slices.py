"""Solids from slices: Onefield's two fields beside interpolation between the slices, one JSON line a row.

`balloondog` (15 planes) is scored by its volumetric overlap with the solid that was cut, `heart25` (25 planes of any
pose, no solid known) by the distance of its contours from the surface; a closed mesh is cut here, across its longest
side. The peers are written here: the nearest plane, linear and cubic interpolation of the planes' signed distances, and
radial basis functions through points on the planes. What knowing more of `balloondog` would bring: the row `grid, ends
given`, and `--midway 5 6`, planes midway below planes 5 and 6.

    python benchmarks/slices.py DATA/slices [--shape balloondog|heart25|MESH] [--planes 15] [--rows "grid;linear;..."]
        [--midway PLANE ...] [--orex-steps 2000] [--meshes FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.interpolate import CubicSpline, RBFInterpolator, RegularGridInterpolator
from scipy.spatial import cKDTree
from torch import Tensor

from onefield.data.contours import Slice
from onefield.data.signals import Shape, load_signal
from onefield.data.slice_files import load_slices
from onefield.data.slice_samples import sample_slices
from onefield.data.slices import Slices
from onefield.export.formats import export_mesh
from onefield.fields.field import Field
from onefield.files import make_folder
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.report import report_mesh
from onefield.training.metrics import intersection_over_union
from onefield.training.orex import OrexSettings, train_orex
from onefield.training.recipes import build_field
from onefield.training.slice_grid import GridSettings, level_shape, train_grid
from onefield.training.slice_task import SliceTask
from onefield.training.slices import contour_errors, plan_slices
from onefield.types import Bounds, Sample

# Points at which solids are compared, and vertices along the longest side of what interpolates.
POINTS, VERTICES = 400_000, 160
# Cells of the meshes that are looked at.
RESOLUTION = 160
# Centres of radial basis functions.
CENTERS = 3000
GRID_STEPS = 600
# Ends of bodies, where they are given, as a part of the points on contours.
ENDS = 0.1


class LatticeField(Field):
    """A signed distance interpolated linearly between the vertices of a lattice."""

    def __init__(self, bounds: Bounds, values: np.ndarray) -> None:
        super().__init__()
        self.domain, self.provides = bounds, frozenset({"distance"})
        axes = [
            np.linspace(*ends, count) for *ends, count in zip(bounds.minimum, bounds.maximum, values.shape, strict=True)
        ]
        self._answer = RegularGridInterpolator(axes, values, bounds_error=False, fill_value=None)

    def _evaluate(self, points: Tensor, directions: object, time: object, want: frozenset[str]) -> Sample:
        return Sample(distance=torch.from_numpy(self._answer(points.double().numpy())).float())


def lattice_points(bounds: Bounds, vertices: int = VERTICES) -> tuple[tuple[int, ...], np.ndarray]:
    shape = level_shape(bounds, vertices)
    axes = [np.linspace(*ends, count) for *ends, count in zip(bounds.minimum, bounds.maximum, shape, strict=True)]
    return shape, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def plane_distances(slices: Slices, points: np.ndarray) -> np.ndarray:
    """Signed distance on each plane, of points dropped onto it: slices x points."""
    rows = []
    for cut in slices.slices:
        flat = cut.to_plane(points)
        inside = cut.contains(flat)
        contour = cut.along_contours(np.linspace(0, 1, 20_000))
        rows.append(np.where(inside, -1, 1) * cKDTree(contour).query(flat)[0])
    return np.stack(rows)


def between_parallel(slices: Slices, kind: str) -> LatticeField:
    """Interpolation along z; beyond the last planes the distance grows as the way does."""
    (columns, rows, layers), points = lattice_points(slices.bounds)
    heights = np.array([cut.origin[2] for cut in slices.slices])
    flat = points.reshape(columns, rows, layers, 3)[:, :, 0].reshape(-1, 3)
    known = plane_distances(slices, flat)
    z = np.linspace(slices.bounds.minimum[2], slices.bounds.maximum[2], layers)
    held = z.clip(heights.min(), heights.max())
    if kind == "nearest plane":
        values = known[np.abs(z[:, None] - heights).argmin(axis=1)]
    elif kind == "linear":
        upper = np.searchsorted(heights, held).clip(1, len(heights) - 1)
        share = ((held - heights[upper - 1]) / (heights[upper] - heights[upper - 1]))[:, None]
        values = (1 - share) * known[upper - 1] + share * known[upper]
    else:
        values = CubicSpline(heights, known, axis=0)(held)
    if kind != "nearest plane":
        values = values + np.abs(z - held)[:, None]
    return LatticeField(slices.bounds, values.T.reshape(columns, rows, layers))


def radial_basis(slices: Slices) -> LatticeField:
    """Cubic radial basis functions through signed distances at points on and beside the contours."""
    samples = sample_slices(slices, torch.Generator().manual_seed(0), 40_000)
    rng = np.random.default_rng(0)
    on = samples.contour.numpy()[rng.permutation(len(samples.contour))[: CENTERS // 2]]
    finite = torch.nonzero(torch.isfinite(samples.distance))[:, 0].numpy()
    off = rng.permutation(finite)[: CENTERS // 2]
    signed = (samples.distance * torch.where(samples.inside, -1.0, 1.0)).numpy()[off]
    centers, values = np.concatenate([on, samples.points.numpy()[off]]), np.concatenate([np.zeros(len(on)), signed])
    shape, points = lattice_points(slices.bounds, VERTICES // 2)
    answer = RBFInterpolator(centers, values, kernel="cubic")(points)
    return LatticeField(slices.bounds, answer.reshape(shape))


def grid(slices: Slices, settings: GridSettings, ends: Tensor | None = None, **sampling: bool) -> Field:
    recipe, target = plan_slices("grid", slices)
    generator = torch.Generator().manual_seed(0)
    field = build_field(recipe.field, recipe.options, target)
    samples = sample_slices(slices, generator, **sampling)
    if ends is not None:
        often = int(ENDS * len(samples.contour)) // len(ends)
        samples = replace(samples, contour=torch.cat([samples.contour, ends.repeat(often, 1)]))
    train_grid(field, SliceTask(slices, samples, generator, lambda step: step / GRID_STEPS), settings)
    return field


def orex(slices: Slices, steps: int, settings: OrexSettings, turns: int = 5, **sampling: bool) -> Field:
    recipe, target = plan_slices("orex", slices)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    field = build_field(recipe.field, recipe.options | {"turns": turns}, target)
    samples = sample_slices(slices, generator, **sampling)
    train_orex(field, SliceTask(slices, samples, generator, lambda step: step / steps), settings)
    return field


def rows(parallel: bool, steps: int, ends: Tensor | None) -> dict[str, Callable[[Slices], Field]]:
    base, network = GridSettings(), OrexSettings()
    peers = {kind: lambda s, kind=kind: between_parallel(s, kind) for kind in ("nearest plane", "linear", "cubic")}
    more = {} if ends is None else {"grid, ends given": lambda s: grid(s, base, ends)}
    return (
        (peers if parallel else {})
        | more
        | {
            "radial basis": radial_basis,
            "grid": lambda s: grid(s, base),
            "grid, evenly spread points": lambda s: grid(s, base, hierarchical=False),
            "grid, distances not bounded": lambda s: grid(s, replace(base, bounded=False)),
            "grid, a tenth as stiff": lambda s: grid(s, replace(base, stiffness=base.stiffness / 10)),
            "grid, one level": lambda s: grid(s, replace(base, levels=base.levels[-1:])),
            "orex": lambda s: orex(s, steps, network),
            "orex, evenly spread points": lambda s: orex(s, steps, network, hierarchical=False),
            "orex, all widths at once": lambda s: orex(s, steps, replace(network, narrowing=False)),
            "orex, no limit to slopes": lambda s: orex(s, steps, replace(network, slope_limit=0.0)),
            "orex, one turn": lambda s: orex(s, steps, network, turns=1),
        }
    )


def section(mesh: trimesh.Trimesh, axis: int, height: float) -> Slice:
    """The mesh on a plane across an axis."""
    origin, axes = height * np.eye(3)[axis], np.eye(3)[[(axis + 1) % 3, (axis + 2) % 3]]
    loops = mesh.section(plane_normal=np.eye(3)[axis], plane_origin=origin).discrete
    return Slice(f"at {height:.4g}", origin, axes, tuple((np.asarray(loop[:-1]) - origin) @ axes.T for loop in loops))


def cut(path: Path, planes: int) -> Slices:
    """Parallel planes at even distances through a mesh, the first and the last half a gap within it."""
    mesh = trimesh.load_mesh(path)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    axis = int(np.argmax(mesh.extents))
    low, high = mesh.bounds[:, axis]
    return Slices.of([section(mesh, axis, low + (high - low) * (n + 0.5) / planes) for n in range(planes)])


def midway(slices: Slices, path: Path, planes: list[int]) -> Slices:
    """More planes across z, each in the middle between a plane and the one below it."""
    heights = [each.origin[2] for each in slices.slices]
    mesh = trimesh.load_mesh(path)
    more = [section(mesh, 2, (heights[plane - 1] + heights[plane]) / 2) for plane in planes]
    return Slices.of(sorted([*slices.slices, *more], key=lambda each: each.origin[2]))


def ends_of(path: Path) -> Tensor | None:
    """Highest and lowest points of a solid's bodies: those above or below all their neighbours, outside in."""
    if not path.is_file():
        return None
    mesh = trimesh.load_mesh(path)
    height, sides = mesh.vertices[:, 2], mesh.edges_unique
    found = []
    for up in (1, -1):
        neighbours = np.full(len(height), -np.inf)
        for one, other in ((0, 1), (1, 0)):
            np.maximum.at(neighbours, sides[:, one], up * height[sides[:, other]])
        found.append((up * height > neighbours) & (up * mesh.vertex_normals[:, 2] > 0))
    return torch.from_numpy(mesh.vertices[found[0] | found[1]]).float()


def truth_of(path: Path) -> tuple[Tensor, Tensor] | None:
    """Random points about the solid that was cut, and which are inside."""
    if not path.is_file():
        return None
    shape = load_signal(path)
    assert isinstance(shape, Shape)
    low, high = shape.mesh.vertices.amin(0), shape.mesh.vertices.amax(0)
    room = 0.02 * (high - low).max()
    unit = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(0))
    points = low - room + unit * (high - low + 2 * room)
    return points, shape.contains(points)


@torch.no_grad()
def inside(field: Field, points: Tensor) -> Tensor:
    name = "distance" if "distance" in field.provides else "occupancy"
    answers = torch.cat([getattr(field.query(part, want=(name,)), name) for part in points.split(2**16)])
    within = field.domain.contains(points)
    return within & (answers < 0 if name == "distance" else answers > 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", default="balloondog")
    parser.add_argument("--planes", type=int, default=15)
    parser.add_argument("--midway", type=int, nargs="+", default=[])
    parser.add_argument("--rows", help="names, separated by semicolons; all without")
    parser.add_argument("--orex-steps", type=int, default=2000)
    parser.add_argument("--meshes", type=Path)
    arguments = parser.parse_args()
    mesh_file = Path(arguments.shape)
    if mesh_file.is_file():
        solid, slices = mesh_file, cut(mesh_file, arguments.planes)
    else:
        solid = arguments.folder / f"{arguments.shape}_reference.stl"
        slices = load_slices(arguments.folder / f"{arguments.shape}.csl")
    if arguments.midway:
        slices = midway(slices, solid, arguments.midway)
    truth = truth_of(solid)
    contestants = rows(arguments.shape == "balloondog", arguments.orex_steps, ends_of(solid))
    for name in arguments.rows.split(";") if arguments.rows else contestants:
        wall, processor = time.perf_counter(), time.process_time()
        field = contestants[name](slices)
        took = (time.perf_counter() - wall, time.process_time() - processor)
        mesh = extract_mesh(field, resolution=RESOLUTION, bounds=slices.bounds)
        report = report_mesh(mesh)
        mean, worst = contour_errors(slices, mesh)
        found = {
            "row": name,
            "iou": None if truth is None else round(intersection_over_union(inside(field, truth[0]), truth[1]), 4),
            "components": report.components,
            "genus": report.genus,
            "watertight": report.watertight,
            "contour_mean": round(mean, 6),
            "contour_worst": round(worst, 5),
            "seconds": round(took[0], 1),
            "processor_seconds": round(took[1], 1),
        }
        print(json.dumps(found), flush=True)
        if arguments.meshes is not None:
            export_mesh(mesh, make_folder(arguments.meshes) / f"{mesh_file.stem} {name}.ply")


if __name__ == "__main__":
    main()
