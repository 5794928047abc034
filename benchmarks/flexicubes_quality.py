"""FlexiCubes: extraction with gradients, the quality of triangles, and surfaces fitted to pictures of sharp shapes.

One JSON line a row. Fits on an octree of the same smallest cells take part; the published implementation does where
Python finds it as `flexicubes`, on the same grids, and in the same optimisation with the same pictures, rates, steps.

    python benchmarks/flexicubes_quality.py extraction [--resolution 64] [--repeats 5]
    python benchmarks/flexicubes_quality.py quality [--resolution 64]
    python benchmarks/flexicubes_quality.py fit block.obj fandisk.obj [--resolution 64] [--steps 100]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from onefield.data.signals import Shape, load_signal
from onefield.fields.analytic import SphereField, TorusField
from onefield.fields.flexicubes import FlexiCubes, FlexiCubesField, corner_points
from onefield.kernels.dual_contouring import dual_contouring
from onefield.kernels.marching_cubes import marching_cubes
from onefield.kernels.marching_cubes_tables import CORNERS
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.report import report_mesh
from onefield.training.mesh_views import MeshViews, start_at
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.recipes import build_field, target_of
from onefield.types import Bounds, FlexiCubesSurface, Mesh

SAMPLES = 100_000
# After Chen and Zhang, "Neural marching cubes" (2021), in a unit box: a sample lies on an edge where another one this
# near has a normal turned by more than this.
EDGE_RADIUS, EDGE_COSINE = 0.004, 0.2
RATE, LEAST_RATE = 2e-2, 0.05
VIEWS = 2


class PublishedFlexiCubes(nn.Module):
    """The authors' extraction on the parameters of ours."""

    def __init__(self, field: FlexiCubesField) -> None:
        super().__init__()
        self.field = field
        self.engine = importlib.import_module("flexicubes").FlexiCubes(device="cpu")
        # as the engine's own construct_voxel_grid numbers them, in milliseconds instead of many seconds
        self.corners = torch.cartesian_prod(*(torch.arange(count + 1) for count in field.cells))
        strides = torch.tensor([(field.cells[1] + 1) * (field.cells[2] + 1), field.cells[2] + 1, 1])
        lowest = torch.cartesian_prod(*(torch.arange(count) for count in field.cells)) @ strides
        self.cubes = lowest[:, None] + torch.as_tensor(CORNERS) @ strides

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        field = self.field
        vertices, faces, deviations = self.engine(
            field.corner_positions(self.corners),
            field.values.flatten(),
            self.cubes,
            field.cells[0],
            field.edge_weights.reshape(-1, 12),
            field.corner_weights.reshape(-1, 8),
            field.split_weights.flatten(),
            training=split == "center",
        )
        return FlexiCubesSurface(vertices, faces, deviations)

    def mesh(self) -> Mesh:
        with torch.no_grad():
            surface = self.surface()
        return Mesh(surface.vertices, surface.faces)


Entrant = FlexiCubes | PublishedFlexiCubes


def contestants() -> dict[str, Callable[[FlexiCubesField], Entrant]]:
    """How each makes the surface of a grid."""
    found: dict[str, Callable[[FlexiCubesField], Entrant]] = {"FlexiCubes": lambda field: field}
    if importlib.util.find_spec("flexicubes"):
        found["FlexiCubes as published"] = PublishedFlexiCubes
    return found


def bored_box(points: Tensor) -> Tensor:
    """A box turned by 0.6 about (1, 2, 3), less a bore along z."""
    axis = torch.tensor([1.0, 2.0, 3.0]) / math.sqrt(14)
    cross = torch.tensor([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = torch.eye(3) + math.sin(0.6) * cross + (1 - math.cos(0.6)) * cross @ cross
    apart = (points @ turn).abs() - torch.tensor([0.30, 0.22, 0.26])
    box = apart.clamp(min=0).norm(dim=-1) + apart.amax(-1).clamp(max=0)
    return torch.maximum(box, 0.12 - points[..., :2].norm(dim=-1))


def shapes() -> dict[str, Callable[[Tensor], Tensor]]:
    """Signed distances in the unit cube about 0."""
    domain = Bounds.cube(0.5)
    sphere, torus = SphereField(0.35, domain=domain), TorusField(0.3, 0.1, domain=domain)
    return {
        "sphere": lambda points: sphere.query(points, want=("distance",)).distance,
        "torus": lambda points: torus.query(points, want=("distance",)).distance,
        "bored box": bored_box,
    }


def corners_of(mesh: Mesh) -> np.ndarray:
    return mesh.vertices.double().numpy()[mesh.faces.numpy()]


def triangle_figures(mesh: Mesh) -> dict[str, float]:
    """Shares in % of triangles of bad shape, and of those that cross another without touching it in a vertex."""
    corners = corners_of(mesh)
    sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    area = np.maximum(area, np.finfo(float).tiny)
    longest = sides.max(axis=1)
    with np.errstate(over="ignore"):
        aspect = longest**2 * math.sqrt(3) / (4 * area)
        radii = sides.prod(axis=1) * sides.sum(axis=1) / (16 * area**2)
    ordered = np.sort(sides, axis=1)
    cosine = (ordered[:, 1] ** 2 + ordered[:, 2] ** 2 - ordered[:, 0] ** 2) / (2 * ordered[:, 1] * ordered[:, 2])
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return {
        "aspect>4": 100 * float((aspect > 4).mean()),
        "radius>4": 100 * float((radii > 4).mean()),
        "angle<10": 100 * float((angle < 10).mean()),
        "crossing": 100 * float(crossing_faces(mesh).mean()),
    }


def crossing_faces(mesh: Mesh) -> np.ndarray:
    """Which faces cross another that they share no vertex with."""
    faces, corners = mesh.faces.numpy(), corners_of(mesh)
    middles = (corners.min(axis=1) + corners.max(axis=1)) / 2
    radius = np.linalg.norm(corners - middles[:, None], axis=2).max()
    first, second = cKDTree(middles).query_pairs(2 * radius, output_type="ndarray").T
    boxes_meet = (
        (corners.min(axis=1)[first] <= corners.max(axis=1)[second])
        & (corners.min(axis=1)[second] <= corners.max(axis=1)[first])
    ).all(axis=1)
    first, second = first[boxes_meet], second[boxes_meet]
    apart = ~(faces[first][:, :, None] == faces[second][:, None, :]).any(axis=(1, 2))
    first, second = first[apart], second[apart]
    found = np.zeros(len(faces), dtype=bool)
    for one, other in ((first, second), (second, first)):
        for n in range(3):
            meets = segments_cross(corners[one][:, n], corners[one][:, (n + 1) % 3], corners[other])
            found[one[meets]] = found[other[meets]] = True
    return found


def segments_cross(start: np.ndarray, end: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        return np.sign(np.einsum("ni,ni->n", np.cross(b - a, c - a), d - a))

    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    turns = [side(start, end, *pair) for pair in ((a, b), (b, c), (c, a))]
    through = (turns[0] == turns[1]) & (turns[1] == turns[2]) & (turns[0] != 0)
    return through & (side(a, b, c, start) * side(a, b, c, end) < 0)


def sampled(mesh: Mesh, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points spread evenly over the area, and the unit normals there."""
    corners = mesh.vertices.float()[mesh.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = normals.norm(dim=1).double().cumsum(0)
    picks = torch.rand(SAMPLES, generator=generator, dtype=torch.float64) * areas[-1]
    face = torch.searchsorted(areas, picks).clamp(max=len(corners) - 1)
    shares = torch.empty(SAMPLES, 3).exponential_(generator=generator)
    points = (corners[face] * (shares / shares.sum(1, keepdim=True))[..., None]).sum(1)
    return points, torch.nn.functional.normalize(normals[face], dim=1)


def on_edges(points: Tensor, normals: Tensor) -> np.ndarray:
    places = points.double().numpy()
    first, second = cKDTree(places).query_pairs(EDGE_RADIUS, output_type="ndarray").T
    sharp = ((normals[first] * normals[second]).sum(1).abs() < EDGE_COSINE).numpy()
    found = np.zeros(len(places), dtype=bool)
    found[first[sharp]] = found[second[sharp]] = True
    return places[found]


def against_shape(mesh: Mesh, shape: Shape) -> dict[str, float]:
    """Lengths in parts of the domain's side; of the normals the mean angle to those of the shape, degrees."""
    generator = torch.Generator().manual_seed(0)
    unit = Mesh(shape.domain.to_unit(mesh.vertices.float()), mesh.faces)
    truth = Mesh(shape.domain.to_unit(shape.mesh.vertices.float()), shape.mesh.faces.long())
    distances, angles = [], []
    for one, other in ((unit, truth), (truth, unit)):
        points, normals = sampled(one, generator)
        nearest, face = closest_point(points, build_tree(other.vertices, other.faces))
        distances.append(float((nearest - points).norm(dim=1).mean()))
        a, b, c = other.vertices[other.faces[face]].unbind(1)
        there = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
        angles.append(torch.rad2deg(torch.acos((normals * there).sum(1).clamp(-1, 1))))
    edges = [on_edges(*sampled(of, generator)) for of in (unit, truth)]
    apart = [
        float(cKDTree(b if len(b) else np.zeros((1, 3))).query(a)[0].mean()) if len(a) else math.nan
        for a, b in (edges, edges[::-1])
    ]
    return {
        "distance": sum(distances) / 2,
        "edge_chamfer": sum(apart),
        "normal_degrees": float(torch.cat(angles).mean()),
        "normals>5": 100 * float((torch.cat(angles) > 5).float().mean()),
    }


def soundness(mesh: Mesh) -> dict[str, object]:
    report = report_mesh(mesh)
    return {"faces": report.faces, "closed": report.watertight, "manifold": report.manifold, "genus": report.genus}


def extraction(arguments: argparse.Namespace) -> None:
    domain, cells = Bounds.cube(0.5), (arguments.resolution,) * 3
    field = FlexiCubesField(domain, shapes()["torus"](corner_points(domain, cells)))
    entrants = {name: enter(field) for name, enter in contestants().items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in entrants}
    for run in range(arguments.repeats + 1):
        for name, entrant in entrants.items():
            started = time.process_time()
            surface = entrant.surface("center")
            forward = time.process_time()
            (surface.vertices.square().sum() + surface.deviations.mean()).backward()
            if run:  # the first compiles
                times[name].append((forward - started, time.process_time() - forward))
    for name, taken in times.items():
        row = {"entrant": name, "resolution": arguments.resolution}
        row["forward_ms"], row["backward_ms"] = (round(1e3 * min(part), 1) for part in zip(*taken, strict=True))
        print(json.dumps(row), flush=True)


def quality(arguments: argparse.Namespace) -> None:
    domain, cells = Bounds.cube(0.5), (arguments.resolution,) * 3
    for shape, distance in shapes().items():
        field = FlexiCubesField(domain, distance(corner_points(domain, cells)))
        meshes = {name: enter(field).mesh() for name, enter in contestants().items()}
        meshes |= contoured(field, distance)
        vertices, faces = marching_cubes(field.values.detach())
        meshes["marching cubes"] = Mesh(vertices / arguments.resolution - 0.5, faces)
        for name, mesh in meshes.items():
            points, normals = sampled(mesh, torch.Generator().manual_seed(0))
            points.requires_grad_()
            (slopes,) = torch.autograd.grad(distance(points).sum(), points)
            angles = (normals * torch.nn.functional.normalize(slopes, dim=1)).sum(1)
            row = {"shape": shape, "entrant": name, **soundness(mesh), **triangle_figures(mesh)}
            row["distance"] = float(distance(points).detach().abs().mean())
            row["normals>5"] = 100 * float((angles < math.cos(math.radians(5))).float().mean())
            print(json.dumps(row), flush=True)


def contoured(field: FlexiCubesField, distance: Callable[[Tensor], Tensor]) -> dict[str, Mesh]:
    """With vertices where the planes of the true slopes meet."""

    @torch.enable_grad()  # the published one asks without
    def slopes(points: Tensor) -> Tensor:
        points = points.detach().float().requires_grad_()
        return torch.autograd.grad(distance(points).sum(), points)[0]

    size = field.cells[0]
    vertices, faces = dual_contouring(field.values.detach(), lambda at: distance((at / size - 0.5).float()))
    found = {"dual contouring": Mesh(vertices / size - 0.5, faces)}
    if importlib.util.find_spec("flexicubes"):
        published = PublishedFlexiCubes(field)
        corners = field.corner_positions(published.corners).detach()
        values = field.values.detach().flatten()
        vertices, faces, _ = published.engine(corners, values, published.cubes, size, grad_func=slopes)
        found["FlexiCubes as published, by slopes"] = Mesh(vertices.detach(), faces)
    return found


def fit(arguments: argparse.Namespace) -> None:
    for path in arguments.shapes:
        shape = load_signal(path)
        size = (arguments.resolution + 1,) * 3
        start = FlexiCubesField(shape.domain, torch.ones(size))
        start_at(start, shape)
        print(json.dumps({"shape": path.stem, "entrant": "start", **judged(start.mesh(), shape)}), flush=True)
        for name, enter in contestants().items():
            field = FlexiCubesField(shape.domain, torch.ones(size))
            field.load_state_dict(start.state_dict())
            entrant = enter(field)
            seconds = optimised(entrant, field, shape, arguments.resolution, arguments.steps)
            row = {"shape": path.stem, "entrant": name, "steps": arguments.steps, "seconds_a_step": seconds}
            print(json.dumps(row | judged(entrant.mesh(), shape)), flush=True)
        octree = build_field("adaptive-flexicubes", {"resolution": arguments.resolution}, target_of(shape))
        start_at(octree, shape)
        row = {"shape": path.stem, "entrant": "start on an octree", "leaves": len(octree.sizes)}
        print(json.dumps(row | judged(octree.mesh(), shape)), flush=True)
        seconds = optimised(octree, octree, shape, arguments.resolution, arguments.steps)
        row = {
            "shape": path.stem,
            "entrant": "adaptive FlexiCubes",
            "steps": arguments.steps,
            "seconds_a_step": seconds,
        }
        print(json.dumps(row | judged(octree.mesh(), shape)), flush=True)


def judged(mesh: Mesh, shape: Shape) -> dict[str, object]:
    return soundness(mesh) | triangle_figures(mesh) | against_shape(mesh, shape)


def optimised(entrant: Entrant, field: FlexiCubes, shape: Shape, resolution: int, steps: int) -> float:
    """Processor time a step."""
    views = MeshViews(shape, resolution, torch.Generator().manual_seed(0))
    parameters = dict(field.named_parameters())
    optimizer = Adam(parameters, dict.fromkeys(parameters, "grid"), {"grid": GroupRate(RATE, skip_zeros=True)})
    started = time.process_time()
    for step in range(steps):
        optimizer.zero_gradients()
        views.loss(entrant, VIEWS).backward()
        optimizer.step(LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)
    return (time.process_time() - started) / max(steps, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("extraction", "quality", "fit"))
    parser.add_argument("shapes", nargs="*", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    {"extraction": extraction, "quality": quality, "fit": fit}[arguments.part](arguments)


if __name__ == "__main__":
    main()
