"""Sphere tracing: the first surface of a distance field along each ray, lit and shadowed where that is wanted.

A ray steps as far as the distance says that nothing is; where a learned distance said too much and a step ended
inside, the crossing is searched between the last two places. Points on the surface move with the field's parameters and
with the rays as implicit differentiation says; silhouettes have no gradient.

Unsigned distances tell of no inside: fields of closest points are followed up to the tolerance, from there rays go on
to the plane on which the Jacobian says that the surface lies, and normals turn to the eye.

Sources: Hart, "Sphere tracing" (1996); gradients: Yariv et al., "Multiview neural surface reconstruction by
disentangling geometry and appearance" (IDR, 2020), eq. 3; closest points: Venkatesh et al., "Deep implicit surface
point prediction networks" (2021), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.gradients import closest_point_normals, spatial_gradient
from onefield.renderers.background import Background, Black
from onefield.renderers.chunking import DEFAULT_MEMORY, rays_within
from onefield.renderers.renderer import Renderer
from onefield.renderers.sampling.intervals import ray_limits
from onefield.types import Rays, RenderedImage, Rendering

TOLERANCE = 1e-4
"""Distance from the surface that counts as on it; the region of interest has an edge of 2."""
MOST_STEPS = 256
# Halvings of the last step where it went through the surface: 2^-20 of any step is below float32's precision here.
_HALVINGS = 20
# A ray that grazes the surface moves its hit without bounds: the cosine that gradients are divided by is at least this.
_LEAST_COSINE = 0.05
# Shadow rays start so many tolerances off the surface, so as not to end where they begin.
_LIFT = 20
# What a field without colours looks like: bright enough to show shading, darker than a white background.
_PLASTER = 0.8


@dataclass(frozen=True)
class Light:
    """A distant lamp and light from everywhere.

    Attributes:
        towards: where the lamp is, world axes, of any length but 0.
        ambient: share of the light that comes from a sky about the lamp, in [0, 1]: a surface turned away from the
            lamp gets half of it, so that shapes can be told in shadows, too.
        shadows: whether the surface keeps the lamp's light off itself.
    """

    towards: tuple[float, float, float] = (0.4, -0.5, 0.8)
    ambient: float = 0.5
    shadows: bool = True

    def __post_init__(self) -> None:
        if not any(self.towards):
            raise UsageError("A lamp needs a direction; (0, 0, 0) is none.")
        if not 0 <= self.ambient <= 1:
            raise UsageError(f"A light's ambient share lies in [0, 1], got {self.ambient}.")


@final
class SphereTracingRenderer(Renderer):
    """Renders the surface of a field of distances: signed ones, or unsigned ones beside closest points."""

    gives_quantiles = True

    def __init__(
        self,
        background: Background | None = None,
        *,
        light: Light | None = None,
        paint: tuple[float, float, float] | None = None,
        tolerance: float = TOLERANCE,
        near: float = 0.0,
    ) -> None:
        """Makes a renderer.

        Args:
            background: what lies behind; None is black.
            light: None shows the field's colours as they are.
            paint: colour of all surfaces, sRGB in [0, 1]; None takes the field's, or plaster where it has none.
            tolerance: distance from the surface that counts as on it, world units; for learned closest points more than
                their error, since there is no inside by which to notice that a ray went through.
            near: distance from the camera before which nothing is seen, world units.

        Raises:
            UsageError: a tolerance that is not positive.
        """
        super().__init__()
        if tolerance <= 0:
            raise UsageError(f"Sphere tracing needs a positive tolerance, got {tolerance}.")
        self.background = Black() if background is None else background
        self.light = light
        self.paint = paint
        self.tolerance = tolerance
        self.near = near

    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it lacks distances.
        """
        if "distance" not in field.provides:
            raise UsageError(
                f"Sphere tracing follows signed distances, but {type(field).__name__} provides only "
                f"{', '.join(sorted(field.provides))}; render it as a volume, or train with '--method sdf'."
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
        """Renders rays, differentiably in the rays and in the field's and the background's parameters.

        Args:
            background: colours behind the rays; None asks the renderer's own background.
            normals: fill `Rendering.normal` with the gradient of the distance on the surface; from closest points
                without a gradient, and turned to the ray's start.

        Raises:
            UsageError: the field lacks distances.
        """
        self.check(field)
        behind = self.background(rays, generator) if background is None else background
        places, hit, looks = first_surface(field, rays.detach(), tolerance=self.tolerance, near=self.near)
        seen = rays[hit]
        if "closest_point" in field.provides:
            depth, normal = _on_sheet(field, seen, places[hit], self.tolerance)
        else:
            depth, normal = _attached(field, seen, places[hit]), None
        points = seen.origins + depth[:, None] * seen.directions
        color = self._color(field, points, seen)
        if normal is None and (normals or self.light is not None):
            slope = spatial_gradient(field, points, "distance", create_graph=torch.is_grad_enabled())
            normal = torch.nn.functional.normalize(slope, dim=-1)
        if self.light is not None:
            color = color * self._lit(field, points, normal)[:, None]
        index = hit.nonzero()[:, 0]
        return Rendering(
            color=behind.index_put((index,), color),
            depth=torch.zeros_like(places).index_put((index,), depth),
            opacity=hit.to(places.dtype),
            normal=torch.zeros_like(rays.origins).index_put((index,), normal) if normals else None,
            looks=looks,
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
        quantiles: Sequence[float] = (),
        limits: Callable[[Rays], Rays] | None = None,
        memory: int = DEFAULT_MEMORY,
    ) -> RenderedImage:
        """Renders one view in full, without gradients and within a budget of memory.

        Args:
            cameras, index: the view.
            background: one colour behind all; None asks the renderer's own background.
            normals: whether to fill `RenderedImage.normal`.
            quantiles: shares of opacity in (0, 1) for `RenderedImage.quantiles`: a surface takes all of it at once.
            limits: fills in near and far of the rays, where the scene states them.
            memory: bytes that points may take together, beside the image itself.

        Raises:
            UsageError: the field lacks distances, or there is no such view.
        """
        self.check(field)
        rays = cameras.image_rays(index)
        if limits is not None:
            rays = limits(rays)
        at_once = rays_within(memory, 1)
        parts = []
        for first in range(0, len(rays), at_once):
            some = rays[first : first + at_once]
            behind = None if background is None else background.expand(len(some), 3)
            parts.append(self.render(field, some, background=behind, normals=normals))
        height, width = int(cameras.height[index]), int(cameras.width[index])
        depth = torch.cat([part.depth for part in parts]).reshape(height, width)
        opacity = torch.cat([part.opacity for part in parts]).reshape(height, width)
        reached = torch.where(opacity > 0, depth, torch.inf)
        return RenderedImage(
            color=torch.cat([part.color for part in parts]).reshape(height, width, 3),
            depth=depth,
            opacity=opacity,
            normal=torch.cat([part.normal for part in parts]).reshape(height, width, 3) if normals else None,
            quantiles=reached[..., None].expand(height, width, len(quantiles)) if quantiles else None,
        )

    def _color(self, field: Field, points: Float[Tensor, "H 3"], rays: Rays) -> Float[Tensor, "H 3"]:
        if self.paint is not None:
            return points.new_tensor(self.paint).expand(len(points), 3)
        if "color" not in field.provides:
            return torch.full_like(points, _PLASTER)
        looking = rays.directions if "color" in field.needs_directions else None
        return field.query(points, directions=looking, want=("color",)).color.to(points)

    def _lit(self, field: Field, points: Float[Tensor, "H 3"], normal: Float[Tensor, "H 3"]) -> Float[Tensor, "H"]:
        """Share of the light that reaches each point of the surface, by Lambert's law and a hemisphere of sky."""
        lamp = torch.nn.functional.normalize(points.new_tensor(self.light.towards), dim=0)
        turned = normal @ lamp
        direct = turned.clamp(min=0)
        if self.light.shadows:
            lifted = Rays((points + _LIFT * self.tolerance * normal).detach(), lamp.expand_as(points))
            _, blocked, _ = first_surface(field, lifted, tolerance=self.tolerance)
            direct = torch.where(blocked, 0.0, direct)
        return self.light.ambient * (3 + turned) / 4 + (1 - self.light.ambient) * direct


@torch.no_grad()
def first_surface(
    field: Field, rays: Rays, *, tolerance: float = TOLERANCE, near: float = 0.0, most_steps: int = MOST_STEPS
) -> tuple[Float[Tensor, "R"], Bool[Tensor, "R"], int]:
    """Where each ray first meets the surface of a field of distances, within the field's domain.

    A ray that enters the domain inside the surface meets it there. Unsigned distances, where they are learned, may be
    too long and take a ray through a sheet: it has met the sheet where the closest point comes to lie behind it.

    Args:
        tolerance: distance from the surface that counts as on it, world units.
        near: distance from the ray's start before which nothing is met.
        most_steps: after which a ray that still creeps along the surface counts as one that misses it.

    Returns:
        Distances along the rays (where a ray misses, where it was given up), which rays hit, and at how many points the
        field was asked.
    """
    places, far = ray_limits(rays, field.domain, near)
    hit = torch.zeros_like(places, dtype=torch.bool)
    before = places.clone()
    crossed = torch.zeros_like(hit)
    going = (places < far).nonzero()[:, 0]
    sheets = "closest_point" in field.provides
    away = torch.zeros_like(rays.origins)
    looks = 0
    for _ in range(most_steps):
        if not len(going):
            break
        looks += len(going)
        if sheets:
            left, away[going] = away[going], _away(field, rays, going, places[going])
            distance = away[going].norm(dim=-1)
        else:
            distance = _distances(field, rays, going, places[going])
        through, there = distance < 0, distance.abs() <= tolerance
        crossed[going] = through & ~there & (places[going] > before[going])
        hit[going] = through | there
        moving = ~(through | there)
        going, ahead = going[moving], distance[moving]
        if sheets:
            turned = (left[moving] * away[going]).sum(-1) < 0
            met, asked = _passed(field, rays, going[turned], left[moving][turned], before, places, tolerance)
            looks += asked
            hit[met] = True
            going, ahead = going[~hit[going]], ahead[~hit[going]]
        before[going] = places[going]
        places[going] += ahead
        going = going[places[going] < far[going]]
    unsure = crossed.nonzero()[:, 0]
    looks += _HALVINGS * len(unsure)
    places[unsure] = _crossing(field, rays, unsure, before[unsure], places[unsure])
    return places, hit, looks


def _distances(field: Field, rays: Rays, index: Tensor, places: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    points = rays.origins[index] + places[:, None] * rays.directions[index]
    return field.query(points, want=("distance",)).distance.to(places)


def _crossing(
    field: Field, rays: Rays, index: Tensor, outside: Float[Tensor, "n"], inside: Float[Tensor, "n"]
) -> Float[Tensor, "n"]:
    for _ in range(_HALVINGS if len(index) else 0):
        middle = (outside + inside) / 2
        within = _distances(field, rays, index, middle) < 0
        outside, inside = torch.where(within, outside, middle), torch.where(within, middle, inside)
    return (outside + inside) / 2


def _passed(
    field: Field,
    rays: Rays,
    index: Tensor,
    start: Float[Tensor, "n 3"],
    before: Float[Tensor, "R"],
    places: Float[Tensor, "R"],
    tolerance: float,
) -> tuple[Tensor, int]:
    """Which of the rays whose way from the closest point turned round in a step went through a sheet.

    They went through if it turns on the surface, and from what lay ahead; ``places`` of those are set to where.

    Args:
        start: the way from the closest point before the step.

    Returns:
        Indices of those rays, and at how many points the field was asked.
    """
    facing = (start * rays.directions[index]).sum(-1) < 0
    index, start = index[facing], start[facing]
    near, far = before[index], places[index]
    for _ in range(_HALVINGS if len(index) else 0):
        middle = (near + far) / 2
        beyond = (_away(field, rays, index, middle) * start).sum(-1) < 0
        near, far = torch.where(beyond, near, middle), torch.where(beyond, middle, far)
    if not len(index):
        return index, 0
    met = _away(field, rays, index, far).norm(dim=-1) <= tolerance
    places[index[met]] = far[met]
    return index[met], (_HALVINGS + 1) * len(index)


def _away(field: Field, rays: Rays, index: Tensor, places: Float[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """From closest points to places along rays."""
    points = rays.origins[index] + places[:, None] * rays.directions[index]
    return points - field.query(points, want=("closest_point",)).closest_point.to(points)


def _attached(field: Field, rays: Rays, places: Float[Tensor, "H"]) -> Float[Tensor, "H"]:
    """Distances along rays as they move with the field and the rays."""
    if not torch.is_grad_enabled():
        return places
    points = rays.origins + places[:, None] * rays.directions
    slope = spatial_gradient(field, points, "distance")
    facing = (slope * rays.directions.detach()).sum(-1)
    facing = torch.where(facing > 0, facing.clamp(min=_LEAST_COSINE), facing.clamp(max=-_LEAST_COSINE))
    distance = field.query(points, want=("distance",)).distance.to(places)
    return places - (distance - distance.detach()) / facing


def _on_sheet(
    field: Field, rays: Rays, places: Float[Tensor, "H"], step: float
) -> tuple[Float[Tensor, "H"], Float[Tensor, "H 3"]]:
    """Distances at which rays meet the plane through the closest point, as they move with field and rays; normals.

    Args:
        step: over which the Jacobian is taken, world units.
    """
    points = rays.origins + places[:, None] * rays.directions
    normal = closest_point_normals(field, points.detach(), "finite", step=step)
    facing = (normal * rays.directions.detach()).sum(-1)
    normal = torch.where(facing[:, None] > 0, -normal, normal)
    facing = -facing.abs().clamp(min=_LEAST_COSINE)
    ahead = field.query(points, want=("closest_point",)).closest_point.to(points) - points
    return places + (ahead * normal).sum(-1) / facing, normal
