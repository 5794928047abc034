"""One Gaussian for each pixel of a few photos, which stays on its pixel's ray: for scenes of two to five views.

Source: Paliwal et al., "CoherentGS: sparse novel view synthesis with coherent 3D Gaussians" (2024),
sections 3.1 to 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.gaussians import CONSTANT_HARMONIC, GREY, sample_gaussians
from onefield.fields.view_decoder import ViewDecoder
from onefield.types import Bounds, Gaussians, Sample

# Standard deviation of a Gaussian in pixels: 1.2 z tan(fovy / 2) / H, with tan(fovy / 2) = H / (2 f).
SPREAD = 0.6
# Logits that an opacity may move away from the first one.
OPACITY_REACH = 10.0


@dataclass(frozen=True)
class PixelRays:
    """Pixels of views that become Gaussians, one a row.

    Attributes:
        sizes: height and width of each view.
        origins: of the views, world units.
        spreads: standard deviation of a Gaussian at depth 1, a view.
        views: of the pixels, places among ``sizes``.
        places: of the pixels among those of all views, one view after the other, row by row.
        directions: of the pixels' rays, so long that their depth along the view's axis is 1.
        depths: as given, above 0; up to a scale and an offset a view.
        segments: regions of like depth, from 0; depth may jump between them.
        colors: RGB in [0, 1].
    """

    sizes: tuple[tuple[int, int], ...]
    origins: Float[Tensor, "V 3"]
    spreads: Float[Tensor, "V"]
    views: Int[Tensor, "P"]
    places: Int[Tensor, "P"]
    directions: Float[Tensor, "P 3"]
    depths: Float[Tensor, "P"]
    segments: Int[Tensor, "P"]
    colors: Float[Tensor, "P 3"]

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class PixelMatches:
    """What is known of where pixels lie.

    Attributes:
        rows, partners: rows of `PixelRays` that show the same point from two views.
        directions: from the partner's view to exactly where it shows the point, of depth 1 along its axis.
        known_rows: rows whose depth is known.
        known_depths: along the axis, world units.
    """

    rows: Int[Tensor, "M"]
    partners: Int[Tensor, "M"]
    directions: Float[Tensor, "M 3"]
    known_rows: Int[Tensor, "K"]
    known_depths: Float[Tensor, "K"]

    @staticmethod
    def none() -> PixelMatches:
        """Nothing is known."""
        rows = torch.zeros(0, dtype=torch.int64)
        return PixelMatches(rows, rows, torch.zeros(0, 3), rows, torch.zeros(0))


@final
class PixelGaussians(Field):
    """Gaussians on the rays of pixels; only how far out each lies moves.

    Depth is ``(given * scale + offset) * (1 + reach * tanh(d))`` with a scale and an offset a view and d from an
    implicit decoder of the view's number, a channel for each segment of like depth; a second decoder moves the logits
    of opacities. A Gaussian is round and as large as its pixel at that depth, until `release` lets shapes and the
    higher harmonics of colours go.

    The parameters of single Gaussians have the names that `GaussianField` gives them, but ``log_scales`` come on top of
    the pixel's size.
    """

    provides = frozenset({"density", "color"})
    needs_directions = frozenset({"color"})

    def __init__(
        self,
        domain: Bounds,
        pixels: PixelRays,
        *,
        matches: PixelMatches | None = None,
        scales: Float[Tensor, "V"] | None = None,
        offsets: Float[Tensor, "V"] | None = None,
        degree: int = 1,
        segments: int = 5,
        width: int = 32,
        reach: float = 0.5,
        first_opacity: float = 0.5,
    ) -> None:
        """Puts a Gaussian on each pixel.

        Args:
            domain: where most of them are; those outside count as well.
            pixels: what they start from.
            matches: for the losses that hold them together; None knows nothing.
            scales, offsets: of the given depths, a view (`onefield.training.pixel_start.align`); None leaves these.
            degree: that colours reach in the end.
            segments: that there are at most.
            width: of the decoders.
            reach: share of its depth that a Gaussian may move by.
            first_opacity: that all start with.

        Raises:
            UsageError: the domain is not of three dimensions, or the reach would let Gaussians go behind their camera.
        """
        super().__init__()
        if domain.dimension != 3:
            raise UsageError(f"Gaussians live in three dimensions, not in {domain.dimension}.")
        if not 0 < reach < 1:
            raise UsageError(f"Gaussians of pixels move by a share of their depth between 0 and 1, got {reach}.")
        self.domain = domain
        self.sizes = pixels.sizes
        self.reach = reach
        self.first_logit = math.log(first_opacity / (1 - first_opacity))
        count, views = len(pixels), len(pixels.sizes)
        self.depth_decoder = ViewDecoder(pixels.sizes, segments, width)
        self.opacity_decoder = ViewDecoder(pixels.sizes, 1, width)
        self.log_scales = nn.Parameter(torch.zeros(count, 3))
        self.quaternions = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1))
        constant = ((pixels.colors - GREY) / CONSTANT_HARMONIC)[:, None]
        bands = [constant.clone(), *(torch.zeros(count, 2 * band + 1, 3) for band in range(1, degree + 1))]
        self.harmonics = nn.ParameterList(nn.Parameter(band) for band in bands)
        for name in ("origins", "spreads", "views", "places", "directions", "depths", "segments"):
            self.register_buffer(name, getattr(pixels, name))
        self.register_buffer("depth_scales", torch.ones(views) if scales is None else scales)
        self.register_buffer("depth_offsets", torch.zeros(views) if offsets is None else offsets)
        for name, tensor in vars(PixelMatches.none() if matches is None else matches).items():
            # names of one tensor would be taken for one buffer
            self.register_buffer("match_" + name, tensor.clone())
        self.register_buffer("released", torch.tensor(False))

    def __len__(self) -> int:
        return self.views.shape[0]

    @property
    def matches(self) -> PixelMatches:
        """What is known of where pixels lie."""
        return PixelMatches(
            self.match_rows,
            self.match_partners,
            self.match_directions,
            self.match_known_rows,
            self.match_known_depths,
        )

    def release(self) -> None:
        """Lets each Gaussian have a shape and harmonics of its own."""
        self.released.fill_(True)

    def resize(self, saved: dict[str, Tensor]) -> list[str]:
        """Gives all tensors of pixels and matches the shapes of a state that was saved; names those parameters that it
        replaced. Their values mean nothing until that state is loaded.
        """
        changed = []
        for name, old in [*self.named_parameters(), *self.named_buffers()]:
            if name not in saved or saved[name].shape == old.shape or saved[name].shape[1:] != old.shape[1:]:
                continue
            owner, _, own = name.rpartition(".")
            fresh = old.detach().new_zeros(saved[name].shape)
            if isinstance(old, nn.Parameter):
                changed.append(name)
                fresh = nn.Parameter(fresh)
            setattr(self.get_submodule(owner), own, fresh)
        return changed

    def aligned_depths(self) -> Float[Tensor, "P"]:
        """Depths along the views' axes before the decoder moves them."""
        return self.depths * self.depth_scales[self.views] + self.depth_offsets[self.views]

    def gaussians(self) -> Gaussians:
        """See `onefield.fields.gaussians.HasGaussians`."""
        moved = torch.cat([channels.flatten(1) for channels in self.depth_decoder()], dim=1)
        depths = self.aligned_depths() * (1 + self.reach * moved[self.segments, self.places])
        faded = torch.cat([channels.flatten() for channels in self.opacity_decoder()])[self.places]
        # sizes follow depths, but don't pull at them
        sizes = (self.spreads[self.views] * depths.detach()).log()[:, None].expand(-1, 3)
        released = bool(self.released)
        return Gaussians(
            self.origins[self.views] + depths[:, None] * self.directions,
            sizes + self.log_scales if released else sizes,
            self.quaternions,
            self.first_logit + OPACITY_REACH * faded,
            tuple(self.harmonics) if released else (self.harmonics[0],),
        )

    def depths_of(self, means: Float[Tensor, "P 3"]) -> Float[Tensor, "P"]:
        """Depths along the views' axes of the middles that `gaussians` gave."""
        offsets = means - self.origins[self.views]
        return (offsets * self.directions).sum(-1) / self.directions.square().sum(-1)

    def maps(self, values: Float[Tensor, "P"]) -> list[Float[Tensor, "h w"]]:
        """Values of the pixels as a picture for each view; NaN where no Gaussian stands."""
        ends = [height * width for height, width in self.sizes]
        flat = values.new_full((sum(ends),), math.nan).index_put((self.places,), values)
        return [part.reshape(size) for part, size in zip(flat.split(ends), self.sizes, strict=True)]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """A group a kind of parameter, as each learns at a rate of its own."""
        constant, *others = self.harmonics
        return {
            "depths": list(self.depth_decoder.parameters()),
            "opacities": list(self.opacity_decoder.parameters()),
            "scales": [self.log_scales],
            "rotations": [self.quaternions],
            "colors": [constant],
            "harmonics": others,
        }

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return sample_gaussians(self.gaussians(), points, directions, want)


def blank_pixels(sizes: Sequence[tuple[int, int]]) -> PixelRays:
    """All pixels of views of these sizes, of values without meaning: for what asks about sizes, or loads the values."""
    count = sum(height * width for height, width in sizes)
    views = len(sizes)
    return PixelRays(
        sizes=tuple(sizes),
        origins=torch.zeros(views, 3),
        spreads=torch.ones(views),
        views=torch.zeros(count, dtype=torch.int64),
        places=torch.arange(count),
        directions=torch.ones(count, 3),
        depths=torch.ones(count),
        segments=torch.zeros(count, dtype=torch.int64),
        colors=torch.zeros(count, 3),
    )
