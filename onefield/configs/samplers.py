"""Configurations of samplers; each builds one for a scene's region."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from onefield.configs.fields import HashField
from onefield.fields.composed import ComposedField
from onefield.fields.encodings import HashGridEncoding
from onefield.fields.heads.density import ExponentialDensity
from onefield.fields.networks.mlp import Mlp
from onefield.fields.wrappers import ContractedField
from onefield.renderers.sampling.occupancy import OccupancySampler
from onefield.renderers.sampling.proposal import ProposalSampler
from onefield.renderers.sampling.sampler import Sampler
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.types import Bounds

# Steps along the region's diagonal: more would look between the finest vertices of any grid in use, fewer past things.
FEWEST_STEPS, MOST_STEPS = 128, 1024
# Growth of steps with distance in scenes without bounds, at least (instant-ngp, appendix E.1).
LEAST_CONE_ANGLE = 1 / 256


@dataclass(frozen=True)
class Outlook:
    """What the sampling of a scene depends on; lengths in normalised units.

    Attributes:
        bounded: nothing lies outside the region.
        extent: half the edge of the cube that holds all there is to see, over the region's.
        near: distance from the cameras within which nothing is expected.
        pixel: width of a pixel of the usual training view at the region's centre.
        pixel_angle: what such a pixel spans, in radians.
    """

    bounded: bool
    extent: float
    near: float
    pixel: float
    pixel_angle: float


@dataclass(frozen=True)
class Uniform:
    """Evenly spaced, jittered samples.

    Attributes:
        count: samples a ray.
    """

    kind: ClassVar[str] = "uniform"
    count: int = 96

    def build(self, outlook: Outlook) -> Sampler:
        """A sampler between each ray's limits; beyond the region it spaces evenly in disparity."""
        return UniformSampler(self.count, disparity=not outlook.bounded, near=outlook.near)


@dataclass(frozen=True)
class Occupancy:
    """Marches through a grid that remembers where there is matter (instant-ngp).

    Attributes:
        resolution: cells along an edge, the same for every cascade.
        step_pixels: length of a step in pixels of the usual training view: details smaller than a pixel can't be
            learned, and steps of many blur what could be (2.2 gained 0.6 dB over 3.6 in the same time).
        threshold: optical thickness of a step above which a cell is marched through.
    """

    kind: ClassVar[str] = "occupancy"
    resolution: int = 64
    step_pixels: float = 2.0
    threshold: float = 0.03

    def build(self, outlook: Outlook) -> Sampler:
        """A sampler over the region, with as many doublings as the scene's extent needs."""
        cascades = 1 if outlook.bounded else 1 + max(0, math.ceil(math.log2(outlook.extent)))
        region = Bounds.cube(1.0)
        step = self.step_pixels * outlook.pixel
        step = min(max(step, region.diagonal / MOST_STEPS), region.diagonal / FEWEST_STEPS)
        cone_angle = max(self.step_pixels * outlook.pixel_angle, LEAST_CONE_ANGLE)
        return OccupancySampler(
            region,
            resolution=self.resolution,
            cascades=cascades,
            step=step,
            cone_angle=0.0 if outlook.bounded else cone_angle,
            threshold=self.threshold,
            near=outlook.near,
        )


@dataclass(frozen=True)
class Proposal:
    """Two rounds of cheap density networks that say where to look (mip-NeRF 360, Barron et al. 2022).

    Attributes:
        first, second: samples of the proposal rounds.
        final: samples that the field itself is asked at.
    """

    kind: ClassVar[str] = "proposal"
    first: int = 64
    second: int = 48
    final: int = 24

    def build(self, outlook: Outlook) -> Sampler:
        """A sampler with its own two small density fields."""
        proposals = [_proposal_field(resolution, outlook.bounded, outlook.extent) for resolution in (64, 128)]
        return ProposalSampler(
            proposals,
            (self.first, self.second),
            self.final,
            disparity=not outlook.bounded,
            near=outlook.near,
        )


def _proposal_field(resolution: int, bounded: bool, extent: float) -> ComposedField | ContractedField:
    scale = 1 if bounded else 2
    encoding = HashGridEncoding(
        3, levels=5, features=2, log2_table_size=15, base_resolution=16, finest_resolution=resolution * scale
    )
    network = Mlp(encoding.output_dimension, 1, 16, 1, precision=HashField.precision)
    field = ComposedField(Bounds.cube(float(scale)), encoding, network, [ExponentialDensity()])
    return field if bounded else ContractedField(field, shape="cube", extent=extent)


SamplerConfig = Uniform | Occupancy | Proposal
"""Every sampler that a method can be configured with; a new one is added here."""
