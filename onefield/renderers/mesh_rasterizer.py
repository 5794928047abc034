"""Pictures of triangle meshes that a loss can be followed through to the mesh.

After Laine et al., "Modular primitives for high-performance differentiable rendering" (2020): what a pixel's centre
sees moves with the face that it sees, and silhouettes are anti-aliased, so that they move with their edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.kernels.mesh_interpolation import interpolate_mesh
from onefield.kernels.rasterize import rasterize
from onefield.kernels.silhouettes import antialias, face_neighbours, silhouettes

Shading = Callable[[Float[Tensor, "n 3"], Float[Tensor, "n C"], Int[Tensor, "n"]], Float[Tensor, "n D"]]
"""Channels of what pixels see: from places in the world, attributes there, and the pixels, counted row by row."""


@dataclass(frozen=True)
class MeshPicture:
    """What one view sees of a mesh, row by row from the top left.

    Attributes:
        mask: share of each pixel that the mesh covers, in [0, 1]; its silhouette is anti-aliased.
        depth: distance along the ray through each pixel's centre, world units; 0 where it sees no face. Not
            anti-aliased: a distance blended with nothing means nothing.
        normal: unit normal of the face that is seen, in the world, on the side on which its corners run
            counter-clockwise; blended with 0 at silhouettes.
        attributes: of the vertices, interpolated, or what their shading makes of them, and blended with 0 at
            silhouettes; no channels where none were given.
        faces: that the pixels' centres see, -1 for none.
    """

    mask: Float[Tensor, "H W"]
    depth: Float[Tensor, "H W"]
    normal: Float[Tensor, "H W 3"]
    attributes: Float[Tensor, "H W C"]
    faces: Int[Tensor, "H W"]


def rasterize_mesh(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Cameras,
    *,
    attributes: Float[Tensor, "V C"] | None = None,
    neighbours: Int[Tensor, "F 3"] | None = None,
    shading: Shading | None = None,
) -> MeshPicture:
    """Draws a mesh, differentiably with respect to its vertices, their attributes, and the camera's pose.

    Faces that reach behind the camera are drawn, but their silhouettes are neither anti-aliased nor followed.

    Args:
        vertices: in the camera's world; float64 runs the references.
        camera: a single view without distortion.
        attributes: of the vertices, such as colours.
        neighbours: as `onefield.kernels.silhouettes.face_neighbours` gives them, to share among views.
        shading: what to show in the place of the attributes; asked once, for all pixels that see a face.

    Raises:
        UsageError: not exactly one view, or one with distortion or skewed pixels.
    """
    if len(camera) != 1:
        raise UsageError(f"A mesh is drawn in one view, got {len(camera)}; pick one with cameras[i].")
    if camera.distorted or camera.skewed:
        raise UsageError("A mesh is drawn by a camera without distortion or skew; undistort the view first.")
    pose = camera.camera_to_world[0].to(vertices.device)
    local = ((vertices.double() - pose[:, 3]) @ pose[:, :3]).to(vertices.dtype)
    intrinsics = torch.cat((camera.focal[0], camera.center[0])).tolist()
    seen, _, depth = rasterize(local, faces, intrinsics, int(camera.width), int(camera.height))
    given = vertices.new_empty(len(vertices), 0) if attributes is None else attributes
    drawn = interpolate_mesh(local, faces, torch.cat((local, given.to(local.dtype)), dim=1), seen, intrinsics)
    covered = (seen >= 0)[..., None]
    shown = drawn[..., 3:] if shading is None else _shaded(shading, drawn, seen, pose)
    blended = torch.cat((covered.to(local.dtype), _normals(vertices, faces, seen), shown), dim=2)
    across = face_neighbours(faces) if neighbours is None else neighbours
    edges = silhouettes(local, faces, across, seen, depth, intrinsics)
    blended = antialias(blended, local, faces, edges, intrinsics)
    # the norm has no gradient at 0
    towards = torch.where(covered, drawn[..., :3], torch.ones_like(drawn[..., :3]))
    distance = torch.where(covered[..., 0], towards.norm(dim=2), 0.0)
    return MeshPicture(blended[..., 0], distance, blended[..., 1:4], blended[..., 4:], seen)


def _shaded(shading: Shading, drawn: Tensor, seen: Tensor, pose: Tensor) -> Tensor:
    """What a shading makes of the pixels that see a face, 0 elsewhere."""
    height, width = seen.shape
    (pixels,) = (seen.flatten() >= 0).nonzero(as_tuple=True)
    local, attributes = drawn.reshape(height * width, -1).index_select(0, pixels).tensor_split((3,), dim=1)
    places = (local.double() @ pose[:, :3].mT + pose[:, 3]).to(drawn.dtype)
    values = shading(places, attributes, pixels)
    picture = values.new_zeros(height * width, values.shape[1])
    return picture.index_copy(0, pixels, values).reshape(height, width, -1).to(drawn.dtype)


def _normals(vertices: Tensor, faces: Tensor, seen: Tensor) -> Tensor:
    """Of the faces that pixels see, 0 where they see none."""
    height, width = seen.shape
    (pixels,) = (seen.flatten() >= 0).nonzero(as_tuple=True)
    shown, of_pixel = seen.flatten()[pixels].unique(return_inverse=True)
    corners = vertices.index_select(0, faces[shown].long().flatten()).reshape(-1, 3, 3)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.nn.functional.normalize(normals, dim=1).index_select(0, of_pixel)
    picture = vertices.new_zeros(height * width, 3)
    return picture.index_copy(0, pixels, normals).reshape(height, width, 3)
