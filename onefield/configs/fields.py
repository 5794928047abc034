"""Configurations of fields; each builds one for a scene's region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onefield.configs.gaussian_hierarchy import HierarchySet
from onefield.configs.gaussians import GaussianSet
from onefield.configs.pixel_gaussians import PixelSet
from onefield.configs.surfaces import SurfaceGrid
from onefield.data.scene import Scene
from onefield.errors import UsageError, nearest_name
from onefield.fields.composed import ComposedField
from onefield.fields.distance_and_occupancy import DistanceAndOccupancy
from onefield.fields.encodings import (
    DenseGridEncoding,
    FourierEncoding,
    HashGridEncoding,
    QuantizedEncoding,
    SphericalHarmonicsEncoding,
)
from onefield.fields.field import Field
from onefield.fields.heads.color import ColorHead
from onefield.fields.heads.density import ExponentialDensity, SoftplusDensity
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.networks.mlp import Mlp
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.fields.wrappers import DENSITY_LAWS, ContractedField, DistanceAsDensity
from onefield.types import Bounds

# The contraction maps all of space into the cube of twice the region's size (mip-NeRF 360, eq. 10).
CONTRACTED_HALF_EXTENT = 2.0
DISTANCE_LAWS = (*DENSITY_LAWS, "neus")
# Of a distance of about unit slope, as in the code published with the Occ-SDF hybrid.
_OCCUPANCY_SHARPNESS = 10.0


def _region(bounded: bool) -> Bounds:
    return Bounds.cube(1.0 if bounded else CONTRACTED_HALF_EXTENT)


def _unbounded(field: Field, bounded: bool, extent: float) -> Field:
    return field if bounded else ContractedField(field, shape="cube", extent=extent)


def _hash_grid(config: HashField | DistanceField, scale: float) -> HashGridEncoding:
    return HashGridEncoding(
        3,
        levels=config.levels,
        features=config.features,
        log2_table_size=config.log2_table_size,
        base_resolution=config.base_resolution,
        finest_resolution=int(config.finest_resolution * scale),
    )


def _color(config: FieldConfig, features: int, first_channel: int = 1) -> ColorHead:
    return ColorHead(
        features,
        SphericalHarmonicsEncoding(),
        config.color_width,
        config.color_layers,
        first_channel,
        precision=config.precision,
    )


def _geometry(config: HashField | FourierField | DistanceField, inputs: int, own: int = 1) -> Mlp:
    return Mlp(inputs, own + config.geometry_features, config.width, config.hidden_layers, precision=config.precision)


@dataclass(frozen=True)
class HashField:
    """Hash grid, small network, density and view-dependent colour (instant-ngp, Mueller et al. 2022).

    Attributes:
        finest_resolution: vertices along an edge of the region at the finest level.
        geometry_features: what the density network hands to the colour network.
        precision: of the networks' products, ``full`` or ``mixed``.
    """

    kind: ClassVar[str] = "hash"
    levels: int = 8
    features: int = 4
    log2_table_size: int = 17
    base_resolution: int = 16
    finest_resolution: int = 1024
    width: int = 64
    hidden_layers: int = 1
    geometry_features: int = 15
    color_width: int = 64
    color_layers: int = 2
    precision: str = "mixed"

    def build(self, bounded: bool, extent: float) -> Field:
        """A field over the region, contracted where the scene has no bounds."""
        encoding = _hash_grid(self, 1.0 if bounded else CONTRACTED_HALF_EXTENT)
        network = _geometry(self, encoding.output_dimension)
        heads = [ExponentialDensity(), _color(self, self.geometry_features)]
        field = ComposedField(_region(bounded), encoding, network, heads)
        return _unbounded(field, bounded, extent)


@dataclass(frozen=True)
class FourierField:
    """Positional encoding and a deep network (NeRF, Mildenhall et al. 2020, made smaller).

    Attributes:
        frequencies: octaves of the encoding of positions.
    """

    kind: ClassVar[str] = "fourier"
    frequencies: int = 10
    width: int = 128
    hidden_layers: int = 4
    geometry_features: int = 63
    color_width: int = 64
    color_layers: int = 1
    precision: str = "mixed"

    def build(self, bounded: bool, extent: float) -> Field:
        """A field over the region, contracted where the scene has no bounds."""
        encoding = FourierEncoding(3, self.frequencies)
        network = _geometry(self, encoding.output_dimension)
        heads = [ExponentialDensity(), _color(self, self.geometry_features)]
        field = ComposedField(_region(bounded), encoding, network, heads)
        return _unbounded(field, bounded, extent)


@dataclass(frozen=True)
class DenseField:
    """One dense grid, density activated after interpolation (DVGO, Sun et al. 2022), small colour network.

    Attributes:
        resolution: vertices along an edge at the end of the run.
        features: colour channels of a vertex.
        initial_opacity: of one voxel before training; low, so that nothing hides what lies behind it.
        growth_stages: how often the number of vertices doubles on the way to ``resolution``.
        growth_end: share of the run at which ``resolution`` is reached.
    """

    kind: ClassVar[str] = "dense"
    resolution: int = 160
    features: int = 12
    initial_opacity: float = 1e-3
    color_width: int = 64
    color_layers: int = 1
    precision: str = "mixed"
    growth_stages: int = 4
    growth_end: float = 0.3

    def build(self, bounded: bool, extent: float) -> Field:
        """A field over the region, contracted where the scene has no bounds."""
        region = _region(bounded)
        encoding = DenseGridEncoding(3, self.resolution, 1 + self.features)
        voxel = region.extent[0] / (self.resolution - 1)
        heads = [SoftplusDensity(self.initial_opacity, voxel), _color(self, self.features)]
        field = ComposedField(region, encoding, None, heads)
        return _unbounded(field, bounded, extent)


@dataclass(frozen=True)
class DistanceField:
    """Signed distance from a hash grid, rendered as volume.

    Attributes:
        sphere_radius: of the first surface, in units of the region's half extent.
        law: how a distance becomes opacity along a ray: ``laplace`` (VolSDF, Yariv et al. 2021), ``logistic`` (as for
            rays that meet the surface head-on) or ``neus`` (Wang et al. 2021: from the distances at both ends of each
            section, so that weights peak on the surface at any angle).
        beta: first width of the law.
        occupancy: learn an occupancy beside the distance, from the same network (Occ-SDF hybrid, Lyu et al. 2023);
            losses whose names begin with ``occupied_`` look at what it shows.
        inside_out: the first surface is seen from within, as rooms are.
        anneal: share of the run over which ``neus`` comes to trust slopes; 0 trusts them at once.
        quantized_cells: along each axis of the region, to whose centres coordinates are snapped before the grid sees
            them (CQ-NIR, Jiang et al. 2023); 0 takes them as they are.
        first_levels: of the grid at the start, the others following one by one (Neuralangelo, Li et al. 2023); 0
            starts with all.
        growth_end: share of the run at which all levels are in use.
    """

    kind: ClassVar[str] = "distance"
    levels: int = 8
    features: int = 4
    log2_table_size: int = 17
    base_resolution: int = 16
    finest_resolution: int = 512
    width: int = 64
    hidden_layers: int = 1
    geometry_features: int = 15
    color_width: int = 64
    color_layers: int = 2
    sphere_radius: float = 0.5
    law: str = "laplace"
    beta: float = 0.1
    occupancy: bool = False
    inside_out: bool = False
    anneal: float = 0.0
    quantized_cells: int = 0
    first_levels: int = 0
    growth_end: float = 0.3
    precision: str = "mixed"

    def build(self, bounded: bool, extent: float) -> Field:
        """A distance field of the region; a scene without bounds is cut off at the region's border."""
        del bounded, extent
        grid = _hash_grid(self, 1.0)
        encoding = QuantizedEncoding(grid, self.quantized_cells) if self.quantized_cells else grid
        own = 2 if self.occupancy else 1
        network = _geometry(self, encoding.output_dimension, own)
        heads = [
            DistanceHead(self.sphere_radius, inside_out=self.inside_out),
            _color(self, self.geometry_features, own),
        ]
        if self.occupancy:
            heads.append(OccupancyHead(1, self.sphere_radius, _OCCUPANCY_SHARPNESS, self.inside_out))
        inner = ComposedField(Bounds.cube(1.0), encoding, network, heads)
        if self.law not in DISTANCE_LAWS:
            raise UsageError(f"Unknown field.law '{self.law}': {nearest_name(self.law, DISTANCE_LAWS)}.")
        field = (
            DistanceAsOpacity(inner, self.beta) if self.law == "neus" else DistanceAsDensity(inner, self.law, self.beta)
        )
        return DistanceAndOccupancy(field) if self.occupancy else field


FieldConfig = (
    HashField | FourierField | DenseField | DistanceField | GaussianSet | PixelSet | HierarchySet | SurfaceGrid
)
"""Every field that a method can be configured with; a new one is added here."""

STARTED_FROM_SCENE = (GaussianSet, PixelSet, HierarchySet, SurfaceGrid)
"""Those whose values at the start, learning rates and strategies follow from a scene."""


def sized_field(config: FieldConfig, scene: Scene) -> Field:
    """A field for a scene in the sizes that it has or may grow to; sets of Gaussians have values without meaning."""
    if isinstance(config, PixelSet):
        return config.blank(scene)
    return config.build(scene.bounded, scene.extent_scale)
