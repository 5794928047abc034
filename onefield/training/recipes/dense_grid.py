"""Values at the vertices of one grid."""

from __future__ import annotations

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.training.recipes.recipe import Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> ComposedField:
    longest = max(target.domain.extent)
    resolution = tuple(max(2, round(options["vertices"] * side / longest)) for side in target.domain.extent)
    encoding = DenseGridEncoding(
        target.domain.dimension, resolution, target.channels, "cubic", initial_amplitude=options["initial_amplitude"]
    )
    return ComposedField(target.domain, encoding, None, [target.head()])


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    if isinstance(signal, Points):
        # solved for, not trained; the solver chooses the vertices
        return Recipe("dense", {"vertices": 257, "initial_amplitude": 0.0}, 0.0, 0.0, 1.0, 0, 0)
    if isinstance(signal, Shape):
        # as many vertices as the samples of a shape can determine
        return Recipe("dense", {"vertices": 64, "initial_amplitude": 1e-4}, 1e-2, 1e-2, 0.01, 2**15, 1000)
    options = {"vertices": max(signal.shape) + 1, "initial_amplitude": 1e-4}
    return Recipe("dense", options, 0.1, 0.1, 0.01, 2**16, 300)


DENSE_GRID = Representation("dense", _field, _recipe, sized=lambda options, size: {"vertices": size + 1})
