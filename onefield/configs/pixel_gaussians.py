"""Configuration of Gaussians of pixels: what they start from, how far they may go, and at which rates they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onefield.configs.gaussians import HARMONIC_SHARE, scene_domain
from onefield.data.scene import Scene
from onefield.errors import UsageError
from onefield.fields.pixel_gaussians import PixelGaussians, blank_pixels
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.training.method import Strategy
from onefield.training.optimizer import GroupRate
from onefield.training.pixel_release import PixelRelease
from onefield.training.pixel_start import align, depths_of_files, flows_of_files, keep_ahead, pixel_matches, pixel_rays

# Of 2, 3, and 4 or more views (CoherentGS): what several see, several cover.
_FIRST_OPACITIES = {2: 0.6, 3: 0.5}
_FIRST_OPACITY_OF_MANY = 0.35


@dataclass(frozen=True)
class PixelSet:
    """A Gaussian for each pixel of a few photos with depth (CoherentGS, Paliwal et al. 2024).

    Attributes:
        flow: folder with files of flow, see `onefield.data.flow_files`; None takes ``flow`` in the dataset's folder.
        degree: of the spherical harmonics at the end.
        segments: regions of like depth in each photo, each with a channel of the depth decoder.
        width: channels of the decoders' layers.
        reach: share of its depth that a Gaussian may move by.
        release: share of the run after which Gaussians have shapes and harmonics of their own.
        depth_rate, opacity_rate: of the decoders.
        final_rate: share of the decoders' rates that is left at the end.
    """

    kind: ClassVar[str] = "pixel-gaussians"
    flow: str | None = None
    degree: int = 1
    segments: int = 5
    width: int = 32
    reach: float = 0.5
    release: float = 0.4
    depth_rate: float = 1e-3
    opacity_rate: float = 1e-3
    final_rate: float = 0.1
    color_rate: float = 2.5e-3
    scale_rate: float = 5e-3
    rotation_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.degree <= MOST_DEGREE:
            raise UsageError(f"field.degree must be 0 to {MOST_DEGREE}, got {self.degree}.")
        if self.segments < 1 or self.width < 1:
            raise UsageError(
                f"field.segments and field.width must be at least 1, got {self.segments} and {self.width}."
            )
        if not 0 < self.reach < 1:
            raise UsageError(f"field.reach must lie between 0 and 1, got {self.reach}.")
        for name in ("depth_rate", "opacity_rate", "final_rate", "color_rate", "scale_rate", "rotation_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"field.{name} must be positive, got {getattr(self, name)}.")

    def blank(self, scene: Scene) -> PixelGaussians:
        """A set of all pixels of the training views, of values without meaning: for what asks about sizes."""
        views = scene.train_indices.tolist()
        sizes = [(int(scene.cameras.height[view]), int(scene.cameras.width[view])) for view in views]
        return PixelGaussians(
            scene_domain(scene),
            blank_pixels(sizes),
            degree=self.degree,
            segments=self.segments,
            width=self.width,
            reach=self.reach,
            first_opacity=_first_opacity(len(views)),
        )

    def started(self, scene: Scene) -> PixelGaussians:
        """The set that training starts from: depth from the scene's maps, aligned by flow and known points.

        Raises:
            DataError: a training view without a depth map, or files that can't be read or don't fit.
        """
        pixels = pixel_rays(scene, depths_of_files(scene), self.segments)
        flow = flows_of_files(scene, None if self.flow is None else Path(self.flow))
        matches = pixel_matches(scene, pixels, flow)
        scales, offsets = align(pixels, matches)
        return PixelGaussians(
            scene_domain(scene),
            keep_ahead(pixels, scales, offsets),
            matches=matches,
            scales=scales,
            offsets=offsets,
            degree=self.degree,
            segments=self.segments,
            width=self.width,
            reach=self.reach,
            first_opacity=_first_opacity(len(pixels.sizes)),
        )

    def rates(self, scene: Scene) -> dict[str, GroupRate]:
        """Learning rates of the set's groups of parameters."""
        del scene
        decoders = {"depths": self.depth_rate, "opacities": self.opacity_rate}
        single = {
            "scales": self.scale_rate,
            "rotations": self.rotation_rate,
            "colors": self.color_rate,
            "harmonics": self.color_rate * HARMONIC_SHARE,
        }
        return {name: GroupRate(rate, final=self.final_rate) for name, rate in decoders.items()} | {
            name: GroupRate(rate, final=1.0) for name, rate in single.items()
        }

    def strategies(self, scene: Scene) -> tuple[Strategy, ...]:
        """What changes the set while it is trained."""
        del scene
        return (PixelRelease(self.release),)


def _first_opacity(views: int) -> float:
    return _FIRST_OPACITIES.get(views, _FIRST_OPACITY_OF_MANY)
