"""Every encoding, field, sampler and format, built small: one line here lights up all tests of its kind.

`tests/contracts/test_catalog.py` runs each entry through what its interface promises, and fails for a class of
Onefield's that has no entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from onefield.fields.analytic import BoxField, MixtureField, SphereField, TorusField
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.composed import ComposedField
from onefield.fields.distance_and_occupancy import DistanceAndOccupancy
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.fourier import FourierEncoding, GaussianFourierEncoding
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.encodings.low_rank import CpEncoding, VmEncoding
from onefield.fields.encodings.planes import KPlanesEncoding, TriPlaneEncoding
from onefield.fields.encodings.planes_and_volume import PlaneVolumeEncoding
from onefield.fields.encodings.quantized import QuantizedEncoding
from onefield.fields.encodings.spherical_harmonics import SphericalHarmonicsEncoding
from onefield.fields.evolving import AtTime, EvolvingField
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.gaussian_hierarchy import GaussianHierarchy
from onefield.fields.gaussians import GaussianField
from onefield.fields.heads.closest_point import ClosestPointHead, UnsignedDistanceHead
from onefield.fields.heads.color import ColorHead, PlainColor
from onefield.fields.heads.density import ExponentialDensity, SoftplusDensity
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.head import Head
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.heads.value import ValueHead
from onefield.fields.held_coordinates import HeldCoordinates
from onefield.fields.iterative import IterativeField
from onefield.fields.mesh_distance import MeshDistance
from onefield.fields.networks import BACKBONES, Backbone
from onefield.fields.networks.factorised import CpNetwork, TensorTrainNetwork, TuckerNetwork
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.network import Network
from onefield.fields.networks.projected import ProjectedNetwork
from onefield.fields.networks.refinement import RefinementNetwork
from onefield.fields.networks.residual import ResidualNetwork
from onefield.fields.networks.siren import Siren
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.fields.pixel_gaussians import PixelGaussians, blank_pixels
from onefield.fields.section_occupancy import OccupancyAsOpacity
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.fields.shaded_surface import ShadedSurface
from onefield.fields.wrappers import ContractedField, Cropped, DistanceAsDensity, Frozen, Transformed
from onefield.renderers.sampling.occupancy import OccupancySampler
from onefield.renderers.sampling.proposal import ProposalSampler
from onefield.renderers.sampling.sampler import Sampler
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.types import Bounds, PointCloud

ENCODINGS: dict[str, Callable[[], Encoding]] = {
    "identity": lambda: IdentityEncoding(3),
    "fourier": lambda: FourierEncoding(3, frequencies=3),
    "gaussian fourier": lambda: GaussianFourierEncoding(3, features=8, scale=2.0),
    "spherical harmonics": lambda: SphericalHarmonicsEncoding(degree=3),
    "dense grid": lambda: DenseGridEncoding(3, resolution=5, features=2, initial_amplitude=0.5),
    "planes and volume": lambda: PlaneVolumeEncoding(planes=5, volume=4, features=2, initial_amplitude=0.5),
    "quantized": lambda: QuantizedEncoding(FourierEncoding(3, frequencies=3), cells=50),
    "hash grid": lambda: HashGridEncoding(
        3, levels=3, features=2, log2_table_size=8, base_resolution=4, finest_resolution=16
    ),
    "tri-plane": lambda: TriPlaneEncoding(3, resolution=6, features=2),
    "k-planes": lambda: KPlanesEncoding(3, resolutions=(4, 6), features=2),
    "cp": lambda: CpEncoding(3, resolution=6, components=4),
    "vm": lambda: VmEncoding(resolution=6, components=2),
}


def _sine(inputs: int, outputs: int) -> Network:
    return Siren(inputs, outputs, width=6, hidden_layers=1, w0=3.0)


# Sizes and scales of networks at which single precision keeps five digits.
SMALL_OPTIONS = {
    "width": 8,
    "hidden_layers": 2,
    "levels": 3,
    "degree": 5,
    "rank": 3,
    "band": 8.0,
    "w0": 3.0,
    "first_w0": 3.0,
    "factor": 1.5,
    "frequency": 2.0,
    "sharpness": 1.0,
}


def small_backbone(backbone: Backbone) -> Callable[[int, int], Network]:
    chosen = {name: SMALL_OPTIONS.get(name, value) for name, value in backbone.options.items()}
    return lambda inputs, outputs: backbone.build(inputs, outputs, chosen | {"output_gain": 1.0})


NETWORKS: dict[str, Callable[[int, int], Network]] = {backbone.name: small_backbone(backbone) for backbone in BACKBONES}
NETWORKS |= {
    "mlp": lambda inputs, outputs: Mlp(inputs, outputs, width=8),
    "mlp, mixed precision": lambda inputs, outputs: Mlp(inputs, outputs, width=8, precision="mixed"),
    "refinement": lambda inputs, outputs: RefinementNetwork(inputs, outputs, width=8, hidden_layers=1, memory=4),
    "residual": lambda inputs, outputs: ResidualNetwork(inputs, outputs, width=8, blocks=2),
    "cp of networks": lambda inputs, outputs: CpNetwork(inputs, outputs, 3, _sine),
    "tensor train of networks": lambda inputs, outputs: TensorTrainNetwork(inputs, outputs, 2, _sine),
    "tucker of networks": lambda inputs, outputs: TuckerNetwork(inputs, outputs, 2, _sine),
    "projected": lambda inputs, outputs: ProjectedNetwork(lambda: _sine(inputs, outputs), latent=12),
}

HEADS: dict[str, Callable[[], Head]] = {
    "closest point": lambda: ClosestPointHead(0.5),
    "color": lambda: ColorHead(4, SphericalHarmonicsEncoding(degree=2), width=8, hidden_layers=1),
    "plain color": PlainColor,
    "exponential density": ExponentialDensity,
    "softplus density": lambda: SoftplusDensity(0.5, 0.1),
    "distance": DistanceHead,
    "occupancy": OccupancyHead,
    "unsigned distance": UnsignedDistanceHead,
    "value": ValueHead,
}


def radiance_field(half_extent: float = 1.0) -> Field:
    """Density and view-dependent colour."""
    heads = [ExponentialDensity(), HEADS["color"]()]
    return ComposedField(Bounds.cube(half_extent), FourierEncoding(3, frequencies=2), Mlp(15, 5, width=8), heads)


def distance_on_a_hash_grid() -> ComposedField:
    encoding = HashGridEncoding(3, levels=3, features=2, log2_table_size=12, base_resolution=8, finest_resolution=32)
    network = Mlp(encoding.output_dimension, 1, width=8)
    return ComposedField(Bounds.cube(1.0), encoding, network, [DistanceHead(0.5)])


def distance_field() -> Field:
    """Signed distance and colour."""
    return ComposedField(Bounds.cube(1.0), IdentityEncoding(3), Siren(3, 5, 8, 1, 3.0), [DistanceHead(), PlainColor()])


def pixel_gaussians() -> Field:
    """Two views of a plane in front of them."""
    pixels = blank_pixels([(6, 8), (6, 8)])
    across = torch.linspace(-0.9, 0.9, 8).repeat(12)
    up = torch.linspace(-0.9, 0.9, 6).repeat_interleave(8).repeat(2)
    directions = torch.stack([across, up, torch.ones(96)], dim=-1)
    return PixelGaussians(Bounds.cube(1.0), replace(pixels, directions=directions, spreads=torch.full((2,), 0.2)))


FIELDS: dict[str, Callable[[], Field]] = {
    "bayesian tucker": lambda: BayesianTucker(Bounds.cube(1.0), TuckerNetwork(3, 2, 2, _sine), 2),
    "evolving": lambda: EvolvingField(Bounds.cube(1.0), width=8, hidden_layers=1),
    "held coordinates": lambda: HeldCoordinates(
        ComposedField(Bounds.cube(1.0, 5), IdentityEncoding(5), Mlp(5, 2, 8), [ValueHead()]), torch.tensor([0.3, -0.2])
    ),
    "iterative": lambda: IterativeField(
        ComposedField(Bounds.cube(1.0), IdentityEncoding(3), Mlp(3, 5, 8), [ValueHead()]), 2, 3, ValueHead(), steps=2
    ),
    "one moment": lambda: AtTime(EvolvingField(Bounds.cube(1.0), width=8, hidden_layers=1), 0.5),
    "radiance": radiance_field,
    "distance": distance_field,
    "closest points": lambda: ComposedField(
        Bounds.cube(1.0), IdentityEncoding(3), Mlp(3, 3, 8), [ClosestPointHead(), UnsignedDistanceHead()]
    ),
    "image": lambda: ComposedField(Bounds((0.0, 0.0), (3.0, 2.0)), IdentityEncoding(2), Mlp(2, 3, 8), [ValueHead()]),
    "sphere": SphereField,
    "box": BoxField,
    "torus": TorusField,
    "mixture": lambda: MixtureField([SphereField(), BoxField(center=(0.4, 0.0, 0.0))], smoothness=0.1),
    "contracted": lambda: ContractedField(radiance_field(2.0)),
    "distance as density": lambda: DistanceAsDensity(distance_field()),
    "occupancy as opacity": lambda: OccupancyAsOpacity(
        ComposedField(Bounds.cube(1.0), IdentityEncoding(3), Siren(3, 5, 8, 1, 3.0), [OccupancyHead(), PlainColor()])
    ),
    "distance as opacity": lambda: DistanceAsOpacity(distance_field()),
    "distance and occupancy": lambda: DistanceAndOccupancy(
        DistanceAsDensity(
            ComposedField(
                Bounds.cube(1.0),
                IdentityEncoding(3),
                Siren(3, 5, 8, 1, 3.0),
                [DistanceHead(), OccupancyHead(1, radius=0.5), PlainColor(2)],
            )
        )
    ),
    "cropped": lambda: Cropped(radiance_field(), Bounds.cube(0.5)),
    "transformed": lambda: Transformed(SphereField(), scale=2.0, translation=(1.0, 2.0, 3.0)),
    "gaussians": lambda: GaussianField.at_random(Bounds.cube(1.0), 50),
    "pixel gaussians": pixel_gaussians,
    "gaussian hierarchy": lambda: GaussianHierarchy.from_points(
        Bounds.cube(1.0), PointCloud(torch.rand(20, 3) - 0.5), 2
    ),
    "flexicubes": lambda: FlexiCubesField(
        Bounds.cube(1.0), corner_points(Bounds.cube(1.0), (4, 5, 6)).norm(dim=-1) - 0.6
    ),
    "octree flexicubes": lambda: OctreeFlexiCubesField.coarse(
        Bounds.cube(1.0), (3, 2, 4), 1, corner_points(Bounds.cube(1.0), (3, 2, 4)).norm(dim=-1) - 0.6
    ),
    "shaded surface": lambda: ShadedSurface(
        Bounds.cube(1.0), FIELDS["flexicubes"](), ENCODINGS["dense grid"](), width=8, hidden_layers=1
    ),
    "mesh distance": lambda: MeshDistance(
        Bounds.cube(1.0), 0.5 * torch.eye(4, 3) - 0.1, torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    ),
    "frozen": lambda: Frozen(radiance_field()),
}

SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "uniform": lambda: UniformSampler(16),
    "occupancy": lambda: OccupancySampler(Bounds.cube(1.0), resolution=16),
    "proposal": lambda: ProposalSampler([SphereField()], counts=(12,), final=8),
}

INTERFACES: dict[type[torch.nn.Module], dict[str, Callable]] = {
    Encoding: ENCODINGS,
    Network: NETWORKS,
    Head: HEADS,
    Field: FIELDS,
    Sampler: SAMPLERS,
}
