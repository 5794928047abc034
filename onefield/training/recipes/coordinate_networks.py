"""Networks of the coordinates themselves: whatever ``onefield.fields.networks`` lists."""

from __future__ import annotations

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.networks import BACKBONES, Backbone
from onefield.training.recipes.recipe import Recipe, Representation, Target, stretch_of


def _representation(backbone: Backbone) -> Representation:
    def field(target: Target, options: dict[str, float]) -> ComposedField:
        dimension = target.domain.dimension
        network = backbone.build(dimension, target.channels, options)
        return ComposedField(target.domain, IdentityEncoding(dimension, options["stretch"]), network, [target.head()])

    def recipe(signal: Signal | Shape | Points) -> Recipe:
        stretch = stretch_of(signal) if backbone.stretched else 1.0
        options = backbone.options | {"output_gain": 1.0, "stretch": stretch}
        rates = backbone.rate, backbone.rate, 0.05
        if isinstance(signal, Points):
            half = {"width": int(backbone.options["width"]) // 2, "output_gain": 0.1}
            return Recipe(backbone.name, options | half, *rates, 3 * 2**11, 1500)
        if isinstance(signal, Shape):
            return Recipe(backbone.name, options | {"output_gain": 0.1}, *rates, 2**13, 1500)
        return Recipe(backbone.name, options, *rates, 2**14, 1500)

    def sized(options: dict[str, float], size: int) -> dict[str, float]:
        return {name: max(1, round(options[name] * size / options["width"])) for name in backbone.growing}

    return Representation(backbone.name, field, recipe, "stretch" if backbone.stretched else None, sized)


COORDINATE_NETWORKS = tuple(_representation(each) for each in BACKBONES)
