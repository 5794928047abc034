"""Network of sines, whose paper treats each kind of signal in its own way."""

from __future__ import annotations

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.networks.siren import SIREN as BACKBONE
from onefield.training.recipes.recipe import Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> ComposedField:
    dimension = target.domain.dimension
    network = BACKBONE.build(dimension, target.channels, options)
    return ComposedField(target.domain, IdentityEncoding(dimension), network, [target.head()])


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    options = BACKBONE.options | {"output_gain": 1.0}
    if isinstance(signal, Points):
        options |= {"width": 128, "output_gain": 0.1}
        return Recipe("siren", options, 5e-4, 5e-4, 0.05, 3 * 2**11, 1500)
    if isinstance(signal, Shape):
        return Recipe("siren", options | {"output_gain": 0.1}, 5e-4, 5e-4, 0.05, 2**13, 1500)
    if signal.kind == "audio":
        # the first layer should reach the band of the sound: so many periods fit into its length
        options |= {"first_w0": max(30.0, 0.01 * signal.shape[0]), "width": 128}
    return Recipe("siren", options, BACKBONE.rate, BACKBONE.rate, 0.05, 2**14, 1500)


SIREN = Representation("siren", _field, _recipe, "first_w0")
