"""Deferred shading: the mesh of a surface drawn on whole pictures, each pixel shaded where it sees the mesh.

Rasterised and anti-aliased after Laine et al. (2020), shaded by the field as in Worchel et al., "Multi-view mesh
reconstruction with neural deferred shading" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.cameras import Cameras, Picture
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.mesh_normals import vertex_normals
from onefield.fields.shaded_surface import HasSurface
from onefield.renderers.background import Background, Black
from onefield.renderers.mesh_rasterizer import rasterize_mesh
from onefield.renderers.renderer import Renderer
from onefield.types import Rays, RenderedImage, Rendering


@final
class MeshRenderer(Renderer):
    """Renders fields that are surfaces, a whole picture or a part of one at a time."""

    takes_pictures = True

    def __init__(self, background: Background | None = None) -> None:
        """Makes a renderer.

        Args:
            background: what lies behind; None is black.
        """
        super().__init__()
        self.background = Black() if background is None else background

    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it is no surface with colours.
        """
        if not isinstance(field, HasSurface):
            raise UsageError(
                f"Meshes are drawn of surfaces with colours, but {type(field).__name__} is none; render it as a volume "
                "(renderer.kind=volume), or train with '--method flexicubes'."
            )

    def render(
        self,
        field: Field,
        rays: Rays,
        generator: torch.Generator | None = None,
        *,
        background: Float[Tensor, "R 3"] | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Renders a `Picture`, differentiably in the surface, its colours, the camera's pose and the background.

        Args:
            rays: must be a `Picture`, without distortion.
            generator: of the background's randomness in training.
            background: colours behind the pixels; None asks the renderer's own background.
            normals: fill `Rendering.normal`.

        Raises:
            UsageError: the field is no surface with colours, the rays are no picture, or its camera is distorted.
        """
        self.check(field)
        if not isinstance(rays, Picture):
            raise UsageError(
                "A mesh is drawn on whole pictures; give it the rays of Cameras.image_rays, not single ones."
            )
        behind = self.background(rays, generator) if background is None else background
        # about their centres, quadrilaterals follow gradients in all that shapes them
        surface = field.surface("center" if torch.is_grad_enabled() else "diagonal")
        directions = rays.directions

        def shaded(
            places: Float[Tensor, "n 3"], turned: Float[Tensor, "n 3"], pixels: Int[Tensor, "n"]
        ) -> Float[Tensor, "n 3"]:
            outward = torch.nn.functional.normalize(turned, dim=1)
            return field.shade(places, outward, directions.index_select(0, pixels))

        vectors = vertex_normals(surface.vertices, surface.faces)
        seen = rasterize_mesh(surface.vertices, surface.faces, rays.camera, attributes=vectors, shading=shaded)
        opacity = seen.mask.reshape(-1)
        return Rendering(
            color=seen.attributes.reshape(-1, 3) + (1 - opacity)[:, None] * behind,
            depth=seen.depth.reshape(-1),
            opacity=opacity,
            normal=torch.nn.functional.normalize(seen.normal.reshape(-1, 3), dim=-1) if normals else None,
            surface=surface,
            looks=int((seen.faces >= 0).sum()),
        )

    @torch.no_grad()
    def render_image(
        self,
        field: Field,
        cameras: Cameras,
        index: int,
        *,
        background: Float[Tensor, "3"] | None = None,
        normals: bool = False,
        limits: Callable[[Rays], Rays] | None = None,
    ) -> RenderedImage:
        """Renders one view in full, without gradients.

        Args:
            cameras, index: the view.
            background: one colour behind all; None asks the renderer's own background.
            normals: whether to fill `RenderedImage.normal`.
            limits: accepted for the call that all renderers share; a mesh has no use for them.

        Raises:
            UsageError: the field is no surface with colours, there is no such view, or it is distorted.
        """
        picture = cameras.image_rays(index)
        behind = None if background is None else background.expand(len(picture), 3)
        drawn = self.render(field, picture, background=behind, normals=normals)
        height, width = picture.shape
        return RenderedImage(
            color=drawn.color.reshape(height, width, 3),
            depth=drawn.depth.reshape(height, width),
            opacity=drawn.opacity.reshape(height, width),
            normal=None if drawn.normal is None else drawn.normal.reshape(height, width, 3),
        )
