"""A picture of a mesh, for a look at what was extracted."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import DataError, UsageError
from onefield.kernels.rasterize import rasterize
from onefield.meshing.geometry import vertex_normals
from onefield.meshing.texture import looked_up
from onefield.types import Mesh

# Part of the light that reaches surfaces seen edge-on; the rest falls from the camera.
AMBIENT = 0.35
# Colour of meshes without colours.
CLAY = (0.75, 0.73, 0.7)
# Field of view of `orbit_camera` over the shorter side of the picture: a long lens, with little perspective.
FIELD_OF_VIEW = math.radians(35)
# Part of the picture that the mesh's bounding sphere fills in `orbit_camera`.
FILLED = 0.95


def render_preview(
    mesh: Mesh,
    camera: Cameras,
    *,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shaded: bool = True,
    supersampling: int = 2,
) -> Float[Tensor, "H W 3"]:
    """Renders a mesh with its texture, or its vertex colours, under a light at the camera.

    Args:
        mesh: in the cameras' world; its normals are used where it has them.
        camera: a single view; its distortion is left out.
        background: RGB in [0, 1].
        shaded: darken surfaces that turn away; without it the colours are shown as they are.
        supersampling: samples along each side of a pixel, averaged.

    Returns:
        RGB in [0, 1], float32, on the CPU.

    Raises:
        UsageError: not exactly one view, or no sample a pixel.
    """
    if len(camera) != 1:
        raise UsageError(f"A preview needs one camera, got {len(camera)}; pick one with cameras[i].")
    if supersampling < 1:
        raise UsageError(f"A preview needs at least 1 sample a pixel, got {supersampling}.")
    width, height = int(camera.width), int(camera.height)
    pose = camera.camera_to_world[0].double().cpu()
    local = ((mesh.vertices.detach().double().cpu() - pose[:, 3]) @ pose[:, :3]).float()
    intrinsics = torch.cat((camera.focal[0], camera.center[0])).cpu() * supersampling
    faces = mesh.faces.cpu()
    found, weights, _ = rasterize(local, faces, intrinsics.tolist(), width * supersampling, height * supersampling)
    covered = found >= 0
    corners = faces[found[covered]]
    share = weights[covered][..., None]
    picture = torch.tensor(background, dtype=torch.float32).repeat(*found.shape, 1)
    if mesh.texture is not None:
        places = (mesh.texture.coordinates.cpu()[found[covered]] * share).sum(1)
        seen = looked_up(mesh.texture.color.cpu(), places)
    else:
        colors = torch.tensor(CLAY).expand(len(local), 3) if mesh.colors is None else mesh.colors.float().cpu()
        seen = (colors[corners] * share).sum(1)
    if shaded:
        normals = (mesh.normals if mesh.normals is not None else vertex_normals(mesh)).cpu().float()
        outward = torch.nn.functional.normalize((normals[corners] * share).sum(1), dim=1) @ pose[:, :3].float()
        towards = torch.nn.functional.normalize((local[corners] * share).sum(1), dim=1)
        seen = seen * (AMBIENT + (1 - AMBIENT) * (outward * towards).sum(1).abs())[:, None]
    picture[covered] = seen.clamp(0, 1)
    return picture.reshape(height, supersampling, width, supersampling, 3).mean(dim=(1, 3))


def orbit_camera(
    mesh: Mesh, *, width: int = 640, height: int = 480, azimuth: float = 0.6, elevation: float = 0.35
) -> Cameras:
    """A view of the whole mesh from around its middle.

    Args:
        mesh: z up.
        width, height: of the picture, pixels.
        azimuth: angle about z from the x axis to the camera, radians.
        elevation: angle of the camera above the horizon, radians, inside (-pi/2, pi/2).

    Raises:
        DataError: the mesh has no faces.
        UsageError: the elevation is a pole or beyond.
    """
    if not mesh.faces.shape[0]:
        raise DataError("The mesh has no faces, so there is nothing to look at; extract at another isovalue.")
    if not abs(elevation) < math.pi / 2:
        raise UsageError(f"The elevation must lie inside (-pi/2, pi/2) radians, got {elevation}.")
    used = mesh.vertices.detach().double().cpu()[mesh.faces.cpu().unique()]
    middle = (used.amin(0) + used.amax(0)) / 2
    radius = float((used - middle).norm(dim=1).max())
    backward = torch.tensor(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ],
        dtype=torch.float64,
    )
    right = torch.tensor([-math.sin(azimuth), math.cos(azimuth), 0.0], dtype=torch.float64)
    down = torch.linalg.cross(-backward, right)
    # the sphere's outline fills its part of the half field of view
    half_angle = math.atan(FILLED * math.tan(FIELD_OF_VIEW / 2))
    position = middle + backward * radius / math.sin(half_angle)
    pose = torch.stack((right, down, -backward, position), dim=1)
    focal = min(width, height) / 2 / math.tan(FIELD_OF_VIEW / 2)
    return Cameras.pinhole(pose[None], focal, (width / 2, height / 2), width, height)


def telling_views(cameras: Cameras) -> tuple[int, ...]:
    """The view nearest to all others, and the one farthest from it: what photographers of one side saw, and how far
    around they went; one where all stand at one place.

    Raises:
        UsageError: no cameras.
    """
    if not len(cameras):
        raise UsageError("There are no cameras to look from; give at least one.")
    apart = torch.cdist(cameras.camera_to_world[:, :, 3].double(), cameras.camera_to_world[:, :, 3].double())
    middle = int(apart.sum(1).argmin())
    farthest = int(apart[middle].argmax())
    return (middle,) if float(apart[middle, farthest]) == 0 else (middle, farthest)
