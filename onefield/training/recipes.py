"""How each representation fits each kind of signal: its sizes, rates and batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import DataError, UsageError, nearest_name
from onefield.fields.composed import ComposedField
from onefield.fields.conv_occupancy import occupancy_field
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.fourier import FourierEncoding, GaussianFourierEncoding
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubesField
from onefield.fields.heads.closest_point import ClosestPointHead, UnsignedDistanceHead
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.head import Head
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.refinement import RefinementNetwork
from onefield.fields.networks.siren import Siren
from onefield.training.slice_grid import level_shape
from onefield.types import Bounds

# The representation of surfaces that may be open.
CLOSEST_POINT_NAME = "csp"
# Smaller tables save nothing worth having.
_LEAST_LOG2_TABLE = 10


@dataclass(frozen=True)
class Recipe:
    """How to build and train a field for one signal.

    Attributes:
        field: name of the representation.
        options: of its builder; plain numbers, so that a saved fit can be built again.
        encoding_rate, network_rate: peak learning rates.
        final_rate: factor on the rates that they fall to, by half a cosine.
        batch: points a step.
        steps: of a run without a limit of time.
    """

    field: str
    options: dict[str, float]
    encoding_rate: float
    network_rate: float
    final_rate: float
    batch: int
    steps: int


@dataclass(frozen=True)
class Target:
    """What the field of a fit answers.

    Attributes:
        quantity: ``"value"``, ``"distance"``, ``"closest_point"`` or, for slices, ``"occupancy"``.
        domain: of the signal.
        channels: of the value.
        offset, scale: of the value, distance or displacement, so that the network works near [-1, 1].
    """

    quantity: str
    domain: Bounds
    channels: int
    offset: float
    scale: float

    def head(self) -> Head:
        """The head that answers the quantity in the signal's unit."""
        if self.quantity == "value":
            return ValueHead(self.offset, self.scale)
        # a quarter of the domain's side: inside the shape's box, whatever the shape
        return DistanceHead(self.domain.extent[0] / 4, self.domain.center, self.scale)


def target_of(signal: Signal | Shape | Points, field: str = "auto") -> Target:
    """Quantity, domain and range of a signal, for a field of this name."""
    if isinstance(signal, Shape | Points):
        if field == CLOSEST_POINT_NAME:
            return Target("closest_point", signal.domain, 3, 0.0, signal.scale / 2)
        return Target("distance", signal.domain, 1, 0.0, signal.scale / 2)
    known = signal.at(signal.known())
    low, high = known.min().item(), known.max().item()
    # a constant signal has no range; its offset says it all
    return Target("value", signal.domain, signal.channels, (low + high) / 2, (high - low) / 2 or 1.0)


def _hash_field(target: Target, options: dict[str, float]) -> ComposedField:
    return _hashed(target, options, [target.head()])


def _closest_point_field(target: Target, options: dict[str, float]) -> ComposedField:
    return _hashed(target, options, [ClosestPointHead(target.scale), UnsignedDistanceHead(target.scale)])


def _hashed(target: Target, options: dict[str, float], heads: list[Head]) -> ComposedField:
    encoding = HashGridEncoding(
        target.domain.dimension,
        levels=int(options["levels"]),
        features=int(options["features"]),
        log2_table_size=int(options["log2_table_size"]),
        base_resolution=int(options["base_resolution"]),
        finest_resolution=int(options["finest_resolution"]),
    )
    network = Mlp(encoding.output_dimension, target.channels, int(options["width"]), int(options["hidden_layers"]))
    return ComposedField(target.domain, encoding, network, heads)


def _siren_field(target: Target, options: dict[str, float]) -> ComposedField:
    dimension = target.domain.dimension
    network = Siren(
        dimension,
        target.channels,
        int(options["width"]),
        int(options["hidden_layers"]),
        options["w0"],
        options["first_w0"],
        options["output_gain"],
    )
    return ComposedField(target.domain, IdentityEncoding(dimension), network, [target.head()])


def _dense_field(target: Target, options: dict[str, float]) -> ComposedField:
    longest = max(target.domain.extent)
    resolution = tuple(max(2, round(options["vertices"] * side / longest)) for side in target.domain.extent)
    encoding = DenseGridEncoding(
        target.domain.dimension, resolution, target.channels, "cubic", initial_amplitude=options["initial_amplitude"]
    )
    return ComposedField(target.domain, encoding, None, [target.head()])


def _fourier_field(target: Target, options: dict[str, float]) -> ComposedField:
    encoding = GaussianFourierEncoding(
        target.domain.dimension, int(options["features"]), options["frequency"], int(options["seed"])
    )
    network = Mlp(encoding.output_dimension, target.channels, int(options["width"]), int(options["hidden_layers"]))
    return ComposedField(target.domain, encoding, network, [target.head()])


def _hash_recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"levels": 16, "features": 2, "width": 64, "hidden_layers": 2, "base_resolution": 16}
    if isinstance(signal, Points):
        options |= {"log2_table_size": 16, "finest_resolution": 256, "levels": 10}
        return Recipe("hash", options, 5e-3, 1e-3, 0.01, 3 * 2**12, 1200)
    if isinstance(signal, Shape):
        options |= {"log2_table_size": 17, "finest_resolution": 1024}
        return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 1800)
    longest, numbers = max(signal.shape), signal.values.numel()
    base = max(1, min(16, longest // 2))
    finest = max(base, longest)
    # a level has an eighth of the signal's numbers, or fewer; all levels together about as many as the signal
    table = max(_LEAST_LOG2_TABLE, min(19, math.ceil(math.log2(numbers)) - 4))
    options |= {"log2_table_size": table, "base_resolution": base, "finest_resolution": finest}
    if signal.kind == "audio":
        options |= {"width": 32, "hidden_layers": 1}
        return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 600)
    return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 1500)


def _siren_recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"width": 256, "hidden_layers": 3, "w0": 30.0, "first_w0": 30.0, "output_gain": 1.0}
    if isinstance(signal, Points):
        options |= {"width": 128, "output_gain": 0.1}
        return Recipe("siren", options, 5e-4, 5e-4, 0.05, 3 * 2**11, 1500)
    if isinstance(signal, Shape):
        return Recipe("siren", options | {"output_gain": 0.1}, 5e-4, 5e-4, 0.05, 2**13, 1500)
    if signal.kind == "audio":
        # the first layer should reach the band of the sound: so many periods fit into its length
        options |= {"first_w0": max(30.0, 0.01 * signal.shape[0]), "width": 128}
    return Recipe("siren", options, 1e-3, 1e-3, 0.05, 2**14, 1500)


def _dense_recipe(signal: Signal | Shape | Points) -> Recipe:
    if isinstance(signal, Points):
        # solved for, not trained; the solver chooses the vertices
        return Recipe("dense", {"vertices": 257, "initial_amplitude": 0.0}, 0.0, 0.0, 1.0, 0, 0)
    if isinstance(signal, Shape):
        # as many vertices as the samples of a shape can determine
        return Recipe("dense", {"vertices": 64, "initial_amplitude": 1e-4}, 1e-2, 1e-2, 0.01, 2**15, 1000)
    options = {"vertices": max(signal.shape) + 1, "initial_amplitude": 1e-4}
    return Recipe("dense", options, 0.1, 0.1, 0.01, 2**16, 300)


def _fourier_recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"features": 256, "frequency": 10.0, "seed": 0, "width": 128, "hidden_layers": 3}
    if isinstance(signal, Points):
        return Recipe("fourier", options | {"frequency": 3.0}, 5e-4, 5e-4, 0.03, 3 * 2**11, 1500)
    if isinstance(signal, Shape):
        return Recipe("fourier", options | {"frequency": 3.0}, 1e-3, 1e-3, 0.03, 2**14, 1500)
    # turns across the domain, well below what the samples can hold; a sound has its energy in a hundredth of its band
    longest = max(signal.shape)
    options["frequency"] = max(1.0, longest / 100 if signal.kind == "audio" else min(10.0, longest / 8))
    return Recipe("fourier", options, 2e-3, 2e-3, 0.03, 2**14, 1500)


def _flexicubes_field(target: Target, options: dict[str, float]) -> FlexiCubesField:
    # shapes have cubes as domains
    return FlexiCubesField(target.domain, torch.ones((int(options["resolution"]) + 1,) * 3))


def _closest_point_recipe(signal: Signal | Shape | Points) -> Recipe:
    if isinstance(signal, Signal):
        raise UsageError(
            f"'{CLOSEST_POINT_NAME}' fits surfaces, from meshes and points, no {signal.kind}; {_other_fields()}."
        )
    options = {"levels": 10, "features": 2, "width": 64, "hidden_layers": 2, "base_resolution": 16}
    options |= {"log2_table_size": 16, "finest_resolution": 128}
    return Recipe(CLOSEST_POINT_NAME, options, 1e-2, 2e-3, 0.01, 3 * 2**12, 2000)


def _flexicubes_recipe(signal: Signal | Shape) -> Recipe:
    if not isinstance(signal, Shape):
        raise UsageError(f"'flexicubes' is a surface and fits meshes, no {signal.kind}; {_other_fields()}.")
    # a batch is two views of all the shape
    return Recipe("flexicubes", {"resolution": 64}, 2e-2, 2e-2, 0.05, 2, 200)


def _other_fields() -> str:
    return f"take one of {', '.join(FIELD_NAMES)}"


def _slice_grid_field(target: Target, options: dict[str, float]) -> ComposedField:
    """Distances at vertices, without the sphere of other shapes, which would not be smooth."""
    encoding = DenseGridEncoding(3, level_shape(target.domain, int(options["vertices"])), 1, "cubic")
    return ComposedField(target.domain, encoding, None, [DistanceHead(0.0, target.domain.center, target.scale)])


def _orex_field(target: Target, options: dict[str, float]) -> ComposedField:
    encoding = FourierEncoding(3, int(options["frequencies"]))
    sizes = (int(options[name]) for name in ("turns", "width", "hidden_layers", "memory"))
    return ComposedField(
        target.domain, encoding, RefinementNetwork(encoding.output_dimension, *sizes), [OccupancyHead()]
    )


def _completed_field(target: Target, options: dict[str, float]) -> ComposedField:
    planes, volume, channels, blocks = (int(options[name]) for name in ("planes", "volume", "channels", "blocks"))
    return occupancy_field(target.domain, planes, volume, channels, blocks)


_COMPLETION_BUILDERS: dict[str, Callable[[Target, dict[str, float]], Field]] = {
    "conv-occupancy": _completed_field,
    "conv-occupancy-volume": _completed_field,
}
# Networks that complete points by what a collection of shapes taught them.
COMPLETION_NAMES = tuple(_COMPLETION_BUILDERS)
_SLICE_BUILDERS: dict[str, Callable[[Target, dict[str, float]], Field]] = {
    "grid": _slice_grid_field,
    "orex": _orex_field,
}
_BUILDERS: dict[str, Callable[[Target, dict[str, float]], Field]] = {
    CLOSEST_POINT_NAME: _closest_point_field,
    "dense": _dense_field,
    "flexicubes": _flexicubes_field,
    "fourier": _fourier_field,
    "hash": _hash_field,
    "siren": _siren_field,
}
_RECIPES: dict[str, Callable[[Signal | Shape | Points], Recipe]] = {
    CLOSEST_POINT_NAME: _closest_point_recipe,
    "dense": _dense_recipe,
    "flexicubes": _flexicubes_recipe,
    "fourier": _fourier_recipe,
    "hash": _hash_recipe,
    "siren": _siren_recipe,
}
# Representations of surfaces alone.
SURFACE_NAMES = (CLOSEST_POINT_NAME, "flexicubes")
# Representations of every kind of signal.
FIELD_NAMES = tuple(name for name in _BUILDERS if name not in SURFACE_NAMES)
_AUTOMATIC, _AUTOMATIC_FOR_POINTS = "hash", "dense"


def recipe_for(name: str, signal: Signal | Shape | Points) -> Recipe:
    """The recipe of a representation for a signal.

    Args:
        name: one of `FIELD_NAMES` (for shapes also `SURFACE_NAMES`), or ``"auto"``, which is the dense grid for
            points and the hash grid for every other kind of signal.

    Raises:
        UsageError: an unknown name, or one that does not fit this kind of signal.
    """
    automatic = _AUTOMATIC_FOR_POINTS if isinstance(signal, Points) else _AUTOMATIC
    chosen = automatic if name == "auto" else name
    if chosen in COMPLETION_NAMES:
        raise UsageError(
            f"'{chosen}' completes points by weights that 'onefield fit FOLDER_OF_MESHES --field {chosen}' learned; "
            "give points, and --weights."
        )
    if chosen not in _RECIPES:
        raise UsageError(f"Unknown field '{name}': {nearest_name(name, ('auto', *_RECIPES))}.")
    recipe = _RECIPES[chosen](signal)
    if isinstance(signal, Signal):
        return replace(recipe, batch=min(recipe.batch, math.prod(signal.shape)))
    return recipe


def build_field(name: str, options: dict[str, float], target: Target) -> Field:
    """An untrained field.

    Raises:
        DataError: an unknown name or a missing option, as in a file from elsewhere.
    """
    builders = _BUILDERS | _SLICE_BUILDERS | _COMPLETION_BUILDERS
    if name not in builders:
        raise DataError(f"A fit names the field '{name}'; {nearest_name(name, tuple(builders))}.")
    try:
        return builders[name](target, options)
    except KeyError as error:
        raise DataError(f"A fit with the field '{name}' lacks the option {error}.") from error
