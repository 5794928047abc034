"""Hash grid and a small network."""

from __future__ import annotations

import math

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.heads.head import Head
from onefield.fields.networks.mlp import Mlp
from onefield.kernels.hash_grid import HashGridLayout, geometric_resolutions
from onefield.training.recipes.recipe import Recipe, Representation, Target

# Smaller tables save nothing worth having where the number of parameters is free.
_LEAST_LOG2_TABLE = 10
_SMALLEST_LOG2_TABLE = 4
_MOST_LOG2_TABLE = 19
_PICTURE_LEVELS = range(16, 11, -1)
# Of pictures with at most so many numbers.
_PICTURE_STEPS, _PICTURE_NUMBERS = 2500, 300_000


def hashed(target: Target, options: dict[str, float], heads: list[Head]) -> ComposedField:
    """A hash grid and a network below any heads."""
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


def _fitting(options: dict[str, float], numbers: int) -> dict[str, float]:
    """The longest tables, and of these the most levels, that have fewer numbers in two dimensions than the signal."""
    for log2 in range(_MOST_LOG2_TABLE, _LEAST_LOG2_TABLE, -1):
        for levels in _PICTURE_LEVELS:
            resolutions = geometric_resolutions(levels, options["base_resolution"], options["finest_resolution"])
            if HashGridLayout.plan(2, resolutions, log2).entries * options["features"] < numbers:
                return {"log2_table_size": log2, "levels": levels}
    return {"log2_table_size": _LEAST_LOG2_TABLE}


def _field(target: Target, options: dict[str, float]) -> ComposedField:
    return hashed(target, options, [target.head()])


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"levels": 16, "features": 2, "width": 64, "hidden_layers": 2, "base_resolution": 16}
    if isinstance(signal, Points):
        options |= {"log2_table_size": 16, "finest_resolution": 256, "levels": 10}
        return Recipe("hash", options, 5e-3, 1e-3, 0.01, 3 * 2**12, 1200)
    if isinstance(signal, Shape):
        options |= {"log2_table_size": 17, "finest_resolution": 1024}
        return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 1800)
    longest, numbers = max(signal.shape), math.prod(signal.shape) * signal.channels
    base = max(1, min(16, longest // 2))
    finest = max(base, longest)
    # a level has an eighth of the signal's numbers, or fewer; all levels together about as many as the signal
    table = max(_LEAST_LOG2_TABLE, min(_MOST_LOG2_TABLE, math.ceil(math.log2(numbers)) - 4))
    options |= {"log2_table_size": table, "base_resolution": base, "finest_resolution": finest}
    if signal.kind == "image":
        # small batches and layers: by far the most accurate of what was tried at equal time
        options |= {"width": 32} | _fitting(options, numbers)
        # larger pictures ask for more steps, but not for as many epochs
        steps = round(_PICTURE_STEPS * min(4.0, max(1.0, math.sqrt(numbers / _PICTURE_NUMBERS))))
        return Recipe("hash", options, 1e-2, 5e-3, 0.01, 2**13, steps)
    if signal.kind == "audio":
        options |= {"width": 32, "hidden_layers": 1}
        return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 600)
    return Recipe("hash", options, 1e-2, 2e-3, 0.01, 2**15, 1500)


def hash_sized(_options: dict[str, float], size: int) -> dict[str, float]:
    """Tables twice as long after eight steps, between which levels are added: 9 to 16 of them."""
    doublings, added = divmod(size - 1, 8)
    return {"log2_table_size": _SMALLEST_LOG2_TABLE + doublings, "levels": 9 + added, "hidden_layers": 1}


HASH_GRID = Representation("hash", _field, _recipe, sized=hash_sized)
