"""The texture of a method's surface: colours from its field or the photos, and normals of what was simplified away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.scene import Scene
from onefield.errors import DataError, ResourceError
from onefield.kernels.system import memory_available
from onefield.meshing.atlas import unwrap
from onefield.meshing.colors import color_as_seen, color_points
from onefield.meshing.geometry import face_vectors, vertex_normals
from onefield.meshing.normal_map import corner_tangents, tangent_normals
from onefield.meshing.photo_colors import PhotoView, blend_photos
from onefield.meshing.texture import Texels, picture_of, texels_of
from onefield.training.depth_views import MOST_VIEWS
from onefield.training.method import Method
from onefield.training.poses import moved_cameras
from onefield.types import Mesh, Texture

# Face, weights, point, normal, colour of a texel, and what finds the nearest one of those between charts.
BYTES_PER_TEXEL = 128
# Who is told what is being done, and how much of it.
Observer = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TextureSettings:
    """How to make a texture.

    Attributes:
        size: of the picture's sides, pixels.
        source: "photos", blended from those that see the texel best, and the field where none does; or "field", the
            mean of what it shows the training cameras that see the texel.
        normal_map: with the normals of the surface before it was simplified.
    """

    size: int
    source: str = "photos"
    normal_map: bool = False


def textured(
    method: Method,
    scene: Scene,
    mesh: Mesh,
    detailed: Mesh,
    settings: TextureSettings,
    reach: float,
    observe: Observer = lambda words, done, total: None,
) -> Mesh:
    """The mesh with a texture.

    Args:
        mesh: in the scene's frame.
        detailed: the surface before it was simplified, for normals.
        reach: how deep a density is looked into for its colour, world units.
        observe: told what is being done.

    Raises:
        UsageError: the size is outside its range, or the field has no colour.
        DataError: there is no face, the picture is too small for the faces, or no photo sees the mesh of a field
            without colour.
        ResourceError: the library that unwraps surfaces is not installed, or less memory is available than texels take.
    """
    need, available = settings.size**2 * BYTES_PER_TEXEL, memory_available()
    if need > available:
        raise ResourceError(
            f"A texture of {settings.size} x {settings.size} pixels takes about {need / 2**30:.1f} GiB of memory, but "
            f"{available / 2**30:.1f} GiB are available; take a smaller --texture."
        )
    observe("unwrapping", 0, 1)
    coordinates = unwrap(mesh, settings.size)
    observe("unwrapping", 1, 1)
    texels = texels_of(mesh, coordinates, settings.size)
    if settings.source == "photos":
        colors = _photo_colors(method, scene, mesh, texels, reach, observe)
    else:
        colors = _field_colors(method, scene, mesh, texels, reach, observe)
    texture = Texture(coordinates, picture_of(texels, colors))
    if not settings.normal_map:
        return replace(mesh, texture=texture)
    smooth = replace(mesh, normals=vertex_normals(mesh) if mesh.normals is None else mesh.normals)
    tangents = corner_tangents(smooth, coordinates)
    normals = picture_of(texels, tangent_normals(smooth, tangents, texels, detailed))
    return replace(smooth, texture=replace(texture, normals=normals, tangents=tangents))


def _training_cameras(method: Method, scene: Scene) -> tuple[Cameras, list[int]]:
    """Cameras of the scene where training has moved them, and the numbers of those to colour a surface by."""
    cameras = scene.cameras if method.poses is None else moved_cameras(scene.cameras, method.poses.corrections())
    chosen = scene.train_indices
    if len(chosen) > MOST_VIEWS:
        chosen = chosen[torch.linspace(0, len(chosen) - 1, MOST_VIEWS).round().long()]
    return cameras, chosen.tolist()


def _field_colors(
    method: Method, scene: Scene, mesh: Mesh, texels: Texels, reach: float, observe: Observer
) -> Float[Tensor, "n 3"]:
    cameras, indices = _training_cameras(method, scene)
    return color_as_seen(
        mesh,
        method.field,
        texels.points,
        texels.normals,
        cameras[indices],
        reach=reach,
        observe=lambda done, total: observe("looking from camera", done, total),
    )


def _photo_colors(
    method: Method, scene: Scene, mesh: Mesh, texels: Texels, reach: float, observe: Observer
) -> Float[Tensor, "n 3"]:
    cameras, indices = _training_cameras(method, scene)

    def view_of(number: int) -> PhotoView:
        index = indices[number]
        pixels = scene.images.image(index)
        counts = pixels[..., 3] if pixels.shape[-1] == 4 else None
        if scene.masks is not None:
            mask = scene.masks.mask(index).float()
            counts = mask if counts is None else counts * mask
        return PhotoView(cameras[[index]], pixels[..., :3], counts)

    spacing = float(face_vectors(mesh).norm(dim=1).sum() / 2 / len(texels.points)) ** 0.5
    colors, seen = blend_photos(
        mesh,
        texels.points,
        texels.normals,
        spacing,
        len(indices),
        view_of,
        lambda done, total: observe("projecting into photo", done, total),
    )
    if "color" in method.field.provides and not bool(seen.all()):
        colors[~seen] = color_points(method.field, texels.points[~seen], -texels.normals[~seen], reach=reach)
    elif not bool(seen.any()):
        raise DataError(
            f"None of the {len(indices)} training photos of {scene.name} sees the mesh, and its field has no colours; "
            "export without --texture."
        )
    return colors
