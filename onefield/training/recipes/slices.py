"""Solids from slices: a smooth grid of distances, and OReX's refining network."""

from __future__ import annotations

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.fourier import FourierEncoding
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.networks.refinement import RefinementNetwork
from onefield.training.recipes.recipe import Target
from onefield.training.slice_grid import level_shape


def slice_grid_field(target: Target, options: dict[str, float]) -> ComposedField:
    """Distances at vertices, without the sphere of other shapes, which would not be smooth."""
    encoding = DenseGridEncoding(3, level_shape(target.domain, int(options["vertices"])), 1, "cubic")
    return ComposedField(target.domain, encoding, None, [DistanceHead(0.0, target.domain.center, target.scale)])


def orex_field(target: Target, options: dict[str, float]) -> ComposedField:
    """Occupancy by OReX's network, which refines its answer turn by turn."""
    encoding = FourierEncoding(3, int(options["frequencies"]))
    sizes = (int(options[name]) for name in ("turns", "width", "hidden_layers", "memory"))
    return ComposedField(
        target.domain, encoding, RefinementNetwork(encoding.output_dimension, *sizes), [OccupancyHead()]
    )
