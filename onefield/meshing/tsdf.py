"""A mesh from depth pictures: fusion into a truncated signed distance volume, and the surface where it was seen.

Source: Curless and Levoy (1996) for the fusion (see `onefield.kernels.tsdf`) and for leaving open what no view has
seen; Newcombe et al., "KinectFusion" (2011), for weights that follow the cosine of the viewing angle over the distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import DataError, ResourceError, UsageError
from onefield.kernels.marching_cubes import marching_cubes
from onefield.kernels.tsdf import integrate_depth
from onefield.meshing.cleanup import select_faces
from onefield.meshing.lattice import Lattice
from onefield.types import Bounds, Mesh

# Half the width, in cells, of the band around a surface in which distances are fused. Wide enough that depths which
# disagree by a cell or two still meet in one crossing, and that corners on both sides of an oblique surface are told;
# no wider, since things thinner than it suffer from what is seen of their other side.
TRUNCATION = 4.0
# Weight below which a corner counts as not seen; a view straight on with pixels of two
# cells or less adds 1, one at 60 degrees a half.
LEAST_WEIGHT = 0.5
# Weight of pixels whose surface runs away from the camera, or is a single pixel wide, so that its angle is unknown.
LEAST_COSINE = 0.05
# Share of its weight that a pixel keeps beside something nearer: with all of it, outlines would wear down.
BESIDE_NEARER = 0.05
# Sums of distance, weight and colours with their weight, and the volume that is extracted from, 4 bytes each; what
# marching cubes counts, and masks, take as much as one more.
BYTES_PER_CORNER = 4 * (1 + 1 + 4 + 1 + 1)


@dataclass(frozen=True)
class DepthView:
    """What one view says about a surface.

    Attributes:
        camera: a single one without distortion.
        depth: distance along each pixel's ray to the surface, world units; infinite where there is none as far as the
            volume reaches, so that all of the ray is free; NaN where unknown. The median is better than the mean, which
            lies between two surfaces where a pixel sees both.
        spread: how far along the ray the depth is uncertain, world units; None says that it is certain.
        color: RGB in [0, 1]; what is no number counts as black.
    """

    camera: Cameras
    depth: Float[Tensor, "H W"]
    spread: Float[Tensor, "H W"] | None = None
    color: Float[Tensor, "H W 3"] | None = None


@dataclass(frozen=True)
class Fusion:
    """A fused surface and how it came about.

    Attributes:
        mesh: in world units, with colours where all views have them; open where no view has seen.
        cells: cells of the grid along x, y, z.
        views: how many were fused.
        observed: share of the grid's corners that enough was seen of.
    """

    mesh: Mesh
    cells: tuple[int, int, int]
    views: int
    observed: float


def fuse_views(
    views: Iterable[DepthView],
    bounds: Bounds,
    *,
    resolution: int = 256,
    truncation: float = TRUNCATION,
    least_weight: float = LEAST_WEIGHT,
    memory_budget: int = 4 * 2**30,
) -> Fusion:
    """Fuses views, one after the other, and extracts the surface that they agree on.

    Args:
        views: any number; each is forgotten once it is fused.
        bounds: where, world units; the surface ends there, open.
        resolution: cells along the longest side of the bounds.
        truncation: in cells, at least 1.
        least_weight: corners that are told less are unseen, and cells with such a corner give no face.
        memory_budget: bytes that the grid may take.

    Raises:
        UsageError: settings out of these ranges, or views that are no pinhole pictures.
        DataError: there are no views, or no surface in the bounds.
        ResourceError: the grid does not fit into the budget.
    """
    if resolution < 1 or not truncation >= 1 or not least_weight > 0:
        raise UsageError(
            f"Fusion needs a resolution >= 1, a truncation >= 1 cell and a positive least weight, got {resolution}, "
            f"{truncation} and {least_weight}."
        )
    lattice = Lattice.over(bounds, resolution)
    check_memory(lattice, resolution, memory_budget)
    volume = TsdfVolume(lattice, truncation * max(lattice.spacing))
    count = 0
    for view in views:
        volume.add(view)
        count += 1
    if not count:
        raise DataError("There are no views to fuse; a surface from depth needs at least one camera.")
    mesh, observed = volume.surface(least_weight)
    if not mesh.faces.shape[0]:
        raise DataError(
            f"The {count} views show no surface within {bounds.minimum} to {bounds.maximum} that is seen well enough; "
            "train further, give other bounds, or extract by marching cubes."
        )
    return Fusion(mesh, lattice.cells, count, observed)


def check_memory(lattice: Lattice, resolution: int, budget: int) -> None:
    """Refuses a grid that is too large.

    Raises:
        ResourceError: it names a resolution that fits.
    """
    need = math.prod(lattice.corners) * BYTES_PER_CORNER
    if need > budget:
        fitting = int(resolution * (budget / need) ** (1 / 3))
        raise ResourceError(
            f"Fusing into a grid of resolution {resolution} takes {need / 2**30:.1f} GiB, more than the budget of "
            f"{budget / 2**30:.1f} GiB; take a resolution of {fitting} or less."
        )


class TsdfVolume:
    """Sums over views at the corners of a grid."""

    def __init__(self, lattice: Lattice, truncation: float) -> None:
        """An empty volume.

        Args:
            truncation: world units.
        """
        self.lattice = lattice
        self.truncation = truncation
        self.distances = torch.zeros(lattice.corners)
        self.weights = torch.zeros(lattice.corners)
        self.colors: Tensor | None = None
        self.views = 0

    def add(self, view: DepthView) -> None:
        """Fuses one more view.

        Raises:
            UsageError: it is no pinhole picture, not of its camera's size, or has colours where others had none.
        """
        camera = view.camera
        if len(camera) != 1 or camera.distorted or camera.skewed:
            raise UsageError("Fusion needs views of single cameras without distortion or skew; render through such.")
        size = (int(camera.height), int(camera.width))
        for name, picture in (("depth", view.depth), ("spread", view.spread), ("colour", view.color)):
            if picture is not None and picture.shape[:2] != size:
                raise UsageError(
                    f"The {name} of a view has shape {tuple(picture.shape)}, but its camera takes pictures of "
                    f"{size[0]} rows and {size[1]} columns; render it through that camera."
                )
        if self.views and (view.color is None) != (self.colors is None):
            raise UsageError("Either all views that are fused have colours or none has.")
        if view.color is not None and self.colors is None:
            self.colors = torch.zeros(*self.lattice.corners, 4)
        spacing = torch.tensor(self.lattice.spacing, dtype=torch.float64)
        rotation, position = camera.camera_to_world[0].double().cpu().split([3, 1], dim=1)
        minimum = torch.tensor(self.lattice.bounds.minimum, dtype=torch.float64)[:, None]
        to_camera = torch.cat([rotation.T * spacing, rotation.T @ (minimum - position)], dim=1)
        integrate_depth(
            self.distances,
            self.weights,
            self.colors,
            view.depth.float().cpu(),
            pixel_weights(view, self.truncation).float().cpu(),
            None if view.color is None else view.color.float().cpu().nan_to_num(),
            to_camera,
            [*camera.focal[0].tolist(), *camera.center[0].tolist()],
            self.truncation,
        )
        self.views += 1

    def surface(self, least_weight: float) -> tuple[Mesh, float]:
        """The surface in cells whose corners all have at least some weight, and the share of such corners."""
        observed = self.weights >= least_weight
        level = torch.where(observed, self.distances / self.weights.clamp(min=least_weight), 1.0)
        vertices, faces = marching_cubes(level)
        del level
        faces = faces[_whole_cells(observed)[tuple(_cells_of(vertices, faces).T)]]
        colors = None if self.colors is None else self._colors_at(vertices)
        mesh = select_faces(Mesh(vertices, faces, colors=colors), torch.ones(len(faces), dtype=torch.bool))
        share = float(observed.double().mean())
        return Mesh(self.lattice.points(mesh.vertices), mesh.faces, colors=mesh.colors), share

    def _colors_at(self, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """Weighted means between the ends of the edge that each vertex lies on; grey where no view has shown any."""
        low = vertices.floor()
        high = vertices.ceil().long()
        # all of the way lies along one axis, but in the rare centre of a cell, where any corner's colour will do
        share = (vertices - low).amax(1, keepdim=True)
        total = torch.lerp(self.colors[tuple(low.long().T)], self.colors[tuple(high.T)], share)
        weight = total[:, 3:]
        mean = total[:, :3] / weight.clamp(min=torch.finfo(torch.float32).tiny)
        return torch.where(weight > 0, mean, 0.5).clamp(0, 1)


def _whole_cells(observed: Bool[Tensor, "X Y Z"]) -> Bool[Tensor, "X-1 Y-1 Z-1"]:
    """The cells of which all eight corners are observed."""
    for axis in range(3):
        count = observed.shape[axis] - 1
        observed = observed.narrow(axis, 0, count) & observed.narrow(axis, 1, count)
    return observed


def _cells_of(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Int[Tensor, "F 3"]:
    """The cell that each face of marching cubes lies in (of two that share a face that it lies on, the upper one)."""
    lower = vertices.floor().to(torch.int32)
    return lower[faces].amin(1).long()


def pixel_weights(view: DepthView, truncation: float) -> Float[Tensor, "H W"]:
    """How much each pixel counts, in [0, 1]; free rays count fully, and unknown depths not at all.

    The product of three: the cosine between ray and surface normal; half the truncation over the size of the pixel
    there, where that is larger; and how certain the depth is, 1 / (1 + (spread / truncation)^2). Pixels beside
    something nearer by more than the truncation (or four times their size) count little: half of what falls into them
    may belong to that.

    Args:
        truncation: world units.
    """
    height, width = view.depth.shape
    rays = view.camera.image_rays(0).directions.reshape(height, width, 3).to(view.depth)
    met = torch.isfinite(view.depth)
    # pixels at unit distance, in halves of the truncation
    pixel = 2 / float(view.camera.focal.max()) / truncation
    weights = _cosines(view.depth, rays) / (view.depth * pixel).clamp(min=1)
    if view.spread is not None:
        weights = weights / (1 + (view.spread / truncation).square())
    free = view.depth == torch.inf
    certain = torch.ones_like(free) if view.spread is None else view.spread == 0
    weights = torch.where(met, weights, (free & certain).to(weights.dtype)).nan_to_num(0.0)
    nearest = -torch.nn.functional.max_pool2d(-view.depth.nan_to_num(torch.inf, torch.inf)[None], 3, 1, 1)[0]
    beside = view.depth - nearest > truncation * (2 * nearest * pixel).clamp(min=1)
    return torch.where(beside, weights * BESIDE_NEARER, weights)


def _cosines(depth: Float[Tensor, "H W"], rays: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W"]:
    """Between each ray and the normal of the surface there; slopes are taken towards the neighbour of nearer depth."""
    points = depth.nan_to_num(0.0, 0.0, 0.0)[..., None] * rays
    slopes, known = [], torch.ones_like(depth, dtype=torch.bool)
    for axis in (0, 1):
        before = depth.roll(1, axis)
        before.select(axis, 0).fill_(torch.inf)
        after = depth.roll(-1, axis)
        after.select(axis, -1).fill_(torch.inf)
        back, forth = ((depth - other).abs().nan_to_num(torch.inf, torch.inf) for other in (before, after))
        behind = (back < forth)[..., None]
        slopes.append(torch.where(behind, points - points.roll(1, axis), points.roll(-1, axis) - points))
        known &= torch.minimum(back, forth) < torch.inf
    normals = torch.nn.functional.normalize(torch.linalg.cross(slopes[0], slopes[1]), dim=-1)
    cosine = (normals * rays).sum(-1).abs().clamp(min=LEAST_COSINE)
    return torch.where(known, cosine, LEAST_COSINE)
