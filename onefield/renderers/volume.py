"""Volume rendering: density and colour of a field along rays, composited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.gradients import spatial_gradient
from onefield.fields.section_occupancy import occupied_density
from onefield.fields.section_opacity import AnswersSections
from onefield.kernels.composite import composite, rendering_weights
from onefield.renderers.background import Background, Black
from onefield.renderers.chunking import DEFAULT_MEMORY, intervals_within, rays_within, samples_within, split_rays
from onefield.renderers.front_to_back import ask_front_to_back
from onefield.renderers.quantiles import opacity_quantiles
from onefield.renderers.renderer import Renderer
from onefield.renderers.sampling.intervals import points_on
from onefield.renderers.sampling.sampler import Sampler, Sampling
from onefield.types import Rays, RaySamples, RenderedImage, Rendering, Sample

# Samples that weigh less change no 8-bit pixel, even 30 of them on one ray.
LEAST_WEIGHT = 1e-4
# Points that are looked at together: their features stay in a processor's caches, and memory stays bounded.
LOOK = 2**15


@final
class VolumeRenderer(Renderer):
    """Renders any field of density and colour (Max 1995; Mildenhall et al. 2020)."""

    gives_quantiles = True

    def __init__(
        self,
        sampler: Sampler,
        background: Background | None = None,
        *,
        early_stop: float = 1e-4,
        prefilter: bool = True,
        occupied: bool = False,
    ) -> None:
        """Makes a renderer.

        Args:
            sampler: where to look along rays.
            background: what lies behind; None is black.
            early_stop: transmittance below which samples are ignored.
            prefilter: ask without gradients first, from near to far until all is hidden, and go on only with samples
                that weigh at least `LEAST_WEIGHT`. Worth it where samples are many; samplers with proposals have few
                and keep all.
            occupied: while gradients are wanted, render by the field's occupancy, too (`Rendering.occupied`).
        """
        super().__init__()
        self.sampler = sampler
        self.background = Black() if background is None else background
        self.early_stop = early_stop
        self.prefilter = prefilter
        self.occupied = occupied

    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it lacks density or colour, or the occupancy that this renderer was made for.
        """
        missing = {"density", "color"} - field.provides
        if missing:
            raise UsageError(
                f"Volume rendering needs density and color, but {type(field).__name__} provides only "
                f"{', '.join(sorted(field.provides))}; wrap distances in DistanceAsDensity or add the missing head."
            )
        if self.occupied and "occupancy" not in field.provides:
            raise UsageError(f"Rendering by occupancy needs a field with one; {type(field).__name__} has none.")

    def prepare(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Lets the sampler look at the field."""
        self.sampler.update(field, step, generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of sampler and background by the rate at which they should learn."""
        groups = self.sampler.parameter_groups()
        for name, parameters in self.background.parameter_groups().items():
            groups[name] = [*groups.get(name, []), *parameters]
        return groups

    def render(
        self,
        field: Field,
        rays: Rays,
        generator: torch.Generator | None = None,
        *,
        background: Float[Tensor, "R 3"] | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Renders rays, differentiably in the rays and in the field's, the sampler's and the background's parameters.

        Args:
            generator: source of all randomness in training; None renders the same each time.
            background: colours behind the rays; None asks the renderer's own background.
            normals: fill `Rendering.normal` from the gradient of distance, or of density where there is none.

        Raises:
            UsageError: the field lacks density or colour.
        """
        self.check(field)
        # where to look is no part of what is learned from the answer, even if the rays themselves are
        sampling = self.sampler(rays.detach(), field, generator)
        behind = self.background(rays, generator) if background is None else background
        return self._shade(field, rays, sampling, behind, normals)

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
            quantiles: shares of opacity in (0, 1) for `RenderedImage.quantiles`; 0.5 gives the median depth.
            limits: fills in near and far of the rays, where the scene states them.
            memory: bytes that samples may take together, beside the image itself.

        Raises:
            UsageError: the field lacks density or colour, or there is no such view.
        """
        self.check(field)
        rays = cameras.image_rays(index)
        if limits is not None:
            rays = limits(rays)
        at_once = rays_within(memory, self.sampler.evaluations_per_ray)
        parts: list[Rendering] = []
        depths: list[Tensor] = []
        for first in range(0, len(rays), at_once):
            some = rays[first : first + at_once]
            behind = self.background(some) if background is None else background.expand(len(some), 3)
            sampling = self.sampler(some, field)
            # normals keep what they are derived from
            bounded = self._filters(sampling) and not normals
            most = intervals_within(memory) if bounded else samples_within(memory)
            for run, samples in split_rays(sampling.samples, most):
                shaded = self._shade(field, some[run], Sampling(samples), behind[run], normals)
                if quantiles:
                    depths.append(opacity_quantiles(shaded.densities, shaded.samples, quantiles))
                # the samples of a whole picture would break any budget
                parts.append(replace(shaded, samples=None, weights=None, densities=None, colors=None))
        height, width = int(cameras.height[index]), int(cameras.width[index])
        return RenderedImage(
            color=torch.cat([part.color for part in parts]).reshape(height, width, 3),
            depth=torch.cat([part.depth for part in parts]).reshape(height, width),
            opacity=torch.cat([part.opacity for part in parts]).reshape(height, width),
            normal=torch.cat([part.normal for part in parts]).reshape(height, width, 3) if normals else None,
            quantiles=torch.cat(depths).reshape(height, width, len(quantiles)) if quantiles else None,
        )

    def _shade(
        self, field: Field, rays: Rays, sampling: Sampling, behind: Float[Tensor, "R 3"], normals: bool
    ) -> Rendering:
        samples, looks, answer = sampling.samples, len(sampling.samples), None
        if self._filters(sampling):
            samples, looks, answer = self._visible(field, rays, samples)
        if answer is None:
            answer = _asked(field, rays, samples, ("density", "color", *self._branches))
        # a field may answer in another type than rays and the sums along them have
        kind = samples.starts.dtype
        color = answer.color.to(kind)
        shown = self._blended(answer.density.to(kind), color, samples, behind)
        if self._branches:
            density = occupied_density(answer.occupancy.to(kind), samples.ends - samples.starts)
            shown = replace(shown, occupied=self._blended(density, color, samples, behind))
        return replace(
            shown,
            normal=_normals(field, rays, samples, shown.weights) if normals else None,
            proposals=sampling.proposals,
            looks=looks,
        )

    def _blended(
        self,
        density: Float[Tensor, "N"],
        color: Float[Tensor, "N 3"],
        samples: RaySamples,
        behind: Float[Tensor, "R 3"],
    ) -> Rendering:
        """What rays show of samples with these densities."""
        weights, blend, depth, opacity = composite(
            density, color, samples.starts, samples.ends, samples.offsets, self.early_stop
        )
        hit = opacity > 0
        return Rendering(
            color=blend + (1 - opacity)[:, None] * behind,
            depth=torch.where(hit, depth / torch.where(hit, opacity, 1.0), 0.0),
            opacity=opacity,
            samples=samples,
            weights=weights,
            densities=density,
            colors=color,
        )

    @property
    def _branches(self) -> tuple[str, ...]:
        """By what rays are rendered now besides density."""
        return ("occupancy",) if self.occupied and torch.is_grad_enabled() else ()

    def _filters(self, sampling: Sampling) -> bool:
        return self.prefilter and not sampling.proposals

    def _visible(self, field: Field, rays: Rays, samples: RaySamples) -> tuple[RaySamples, int, Sample | None]:
        """The samples that show, at how many the field was asked, and its answer, if that needs no gradients."""
        learning, occupied = torch.is_grad_enabled(), bool(self._branches)
        want = ("density", *self._branches) if learning else ("density", "color")
        density = samples.starts.new_zeros(len(samples))
        solid = samples.starts.new_zeros(len(samples) if occupied else 0)
        color = samples.starts.new_zeros(0 if learning else len(samples), 3)

        def ask(numbers: Tensor) -> Tensor:
            for some in numbers.split(LOOK):
                part = RaySamples(samples.ray_indices[some], samples.starts[some], samples.ends[some], samples.offsets)
                answer = _asked(field, rays, part, want)
                density[some] = answer.density.to(density)
                if occupied:
                    solid[some] = occupied_density(answer.occupancy.to(solid), part.ends - part.starts)
                if not learning:
                    color[some] = answer.color.to(color)
            # a ray goes on until neither lets light through
            return torch.minimum(density[numbers], solid[numbers]) if occupied else density[numbers]

        with torch.no_grad():
            looks = ask_front_to_back(samples, ask, max(self.early_stop, LEAST_WEIGHT))
            shown = self._shows(density, samples)
            if occupied:
                shown |= self._shows(solid, samples)
            kept = shown.nonzero()[:, 0]
            before = torch.cat([kept.new_zeros(1), shown.cumsum(0)])
            visible = RaySamples(
                samples.ray_indices[kept], samples.starts[kept], samples.ends[kept], before[samples.offsets]
            )
        return visible, looks, None if learning else Sample(density=density[kept], color=color[kept])

    def _shows(self, density: Float[Tensor, "N"], samples: RaySamples) -> Bool[Tensor, "N"]:
        """Which samples with these densities change a pixel."""
        weights = rendering_weights(density, samples.starts, samples.ends, samples.offsets, self.early_stop)
        # negated, so that values that are not numbers stay and are noticed
        return ~(weights < LEAST_WEIGHT)


def _asked(field: Field, rays: Rays, samples: RaySamples, want: tuple[str, ...]) -> Sample:
    """What a field answers for the samples: over their intervals where it can, else at their middles."""
    if not isinstance(field, AnswersSections):
        return field.query(points_on(rays, samples), directions=_looking(field, set(want), rays, samples), want=want)
    origins = rays.origins.index_select(0, samples.ray_indices)
    directions = rays.directions.index_select(0, samples.ray_indices)
    starts = torch.addcmul(origins, directions, samples.starts[:, None])
    ends = torch.addcmul(origins, directions, samples.ends[:, None])
    return field.query_sections(starts, ends, directions, want)


def _looking(field: Field, wanted: set[str], rays: Rays, samples: RaySamples) -> Tensor | None:
    """Viewing directions of the samples, where the field needs them for what is wanted."""
    return rays.directions.index_select(0, samples.ray_indices) if wanted & field.needs_directions else None


def _normals(field: Field, rays: Rays, samples: RaySamples, weights: Float[Tensor, "N"]) -> Float[Tensor, "R 3"]:
    """Weighted mean of the unit normals along each ray, of unit length (0 where nothing was hit)."""
    quantity, sign = ("distance", 1.0) if "distance" in field.provides else ("density", -1.0)
    points = points_on(rays, samples)
    slope = spatial_gradient(field, points, quantity, directions=_looking(field, {quantity}, rays, samples))
    outward = sign * torch.nn.functional.normalize(slope, dim=-1)
    total = torch.zeros_like(rays.origins).index_add(0, samples.ray_indices, weights[:, None] * outward)
    return torch.nn.functional.normalize(total, dim=-1)
