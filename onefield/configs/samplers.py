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


@dataclass(frozen=True)
class Uniform:
    """Evenly spaced, jittered samples.

    Attributes:
        count: samples a ray.
    """

    kind: ClassVar[str] = "uniform"
    count: int = 96

    def build(self, bounded: bool, extent: float, near: float) -> Sampler:
        """A sampler between each ray's limits; beyond the region it spaces evenly in disparity."""
        del extent
        return UniformSampler(self.count, disparity=not bounded, near=near)


@dataclass(frozen=True)
class Occupancy:
    """Marches through a grid that remembers where there is matter (instant-ngp).

    Attributes:
        resolution: cells along an edge, the same for every cascade.
        steps: samples along the region's diagonal at the finest step.
        cone_angle: growth of the step with distance, for scenes without bounds.
        threshold: optical thickness of a step above which a cell is marched through.
    """

    kind: ClassVar[str] = "occupancy"
    resolution: int = 64
    steps: int = 200
    cone_angle: float = 0.02
    threshold: float = 0.03

    def build(self, bounded: bool, extent: float, near: float) -> Sampler:
        """A sampler over the region, with as many doublings as the scene's extent needs."""
        cascades = 1 if bounded else 1 + max(0, math.ceil(math.log2(extent)))
        region = Bounds.cube(1.0)
        return OccupancySampler(
            region,
            resolution=self.resolution,
            cascades=cascades,
            step=region.diagonal / self.steps,
            cone_angle=0.0 if bounded else self.cone_angle,
            threshold=self.threshold,
            near=near,
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

    def build(self, bounded: bool, extent: float, near: float) -> Sampler:
        """A sampler with its own two small density fields."""
        proposals = [_proposal_field(resolution, bounded, extent) for resolution in (64, 128)]
        return ProposalSampler(proposals, (self.first, self.second), self.final, disparity=not bounded, near=near)


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
