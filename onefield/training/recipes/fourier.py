"""Random Fourier features and a ReLU network."""

from __future__ import annotations

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.fourier import GaussianFourierEncoding
from onefield.fields.networks.mlp import Mlp
from onefield.training.recipes.recipe import Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> ComposedField:
    encoding = GaussianFourierEncoding(
        target.domain.dimension, int(options["features"]), options["frequency"], int(options["seed"])
    )
    network = Mlp(encoding.output_dimension, target.channels, int(options["width"]), int(options["hidden_layers"]))
    return ComposedField(target.domain, encoding, network, [target.head()])


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"features": 256, "frequency": 10.0, "seed": 0, "width": 128, "hidden_layers": 3}
    if isinstance(signal, Points):
        return Recipe("fourier", options | {"frequency": 3.0}, 5e-4, 5e-4, 0.03, 3 * 2**11, 1500)
    if isinstance(signal, Shape):
        return Recipe("fourier", options | {"frequency": 3.0}, 1e-3, 1e-3, 0.03, 2**14, 1500)
    # turns across the domain, well below what the samples can hold; a sound has its energy in a hundredth of its band
    longest = max(signal.shape)
    options["frequency"] = max(1.0, longest / 100 if signal.kind == "audio" else min(10.0, longest / 8))
    return Recipe("fourier", options, 2e-3, 2e-3, 0.03, 2**14, 1500)


FOURIER = Representation(
    "fourier", _field, _recipe, "frequency", lambda options, size: {"width": size, "features": 2 * size}
)
