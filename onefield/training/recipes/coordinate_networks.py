"""Networks of the coordinates themselves, one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.bacon import Bacon
from onefield.fields.networks.chebyshev import ChebyshevNetwork
from onefield.fields.networks.finer import Finer
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.multiplicative import FourierFilterNetwork, GaborFilterNetwork
from onefield.fields.networks.network import Network
from onefield.fields.networks.polynomial import PolynomialNetwork
from onefield.fields.networks.quadratic import QuadraticNetwork
from onefield.fields.networks.real_gabor import RealGaborNetwork
from onefield.fields.networks.sinc import SincNetwork
from onefield.fields.networks.wire import Wire
from onefield.training.recipes.recipe import Recipe, Representation, Target, stretch_of

Options = dict[str, float]


@dataclass(frozen=True)
class _Backbone:
    """A network and its recipe.

    Attributes:
        make: the network of so many inputs and outputs, by options.
        options: its sizes and frequencies.
        rate: peak learning rate.
        stretched: whether its inputs may exceed [-1, 1]; else long signals are as they are.
    """

    name: str
    make: Callable[[int, int, Options], Network]
    options: Options
    rate: float
    stretched: bool = True


def _sizes(options: Options) -> tuple[int, int]:
    return int(options["width"]), int(options["hidden_layers"])


def _finer(inputs: int, outputs: int, options: Options) -> Network:
    return Finer(inputs, outputs, *_sizes(options), options["w0"], output_gain=options["output_gain"])


def _activated(kind: type[ActivatedNetwork]) -> Callable[[int, int, Options], Network]:
    """Of networks that have no more to choose than their factor."""
    return lambda inputs, outputs, options: kind(
        inputs, outputs, *_sizes(options), options["factor"], output_gain=options["output_gain"]
    )


def _real_gabor(inputs: int, outputs: int, options: Options) -> Network:
    shape = options["frequency"], options["sharpness"]
    return RealGaborNetwork(inputs, outputs, *_sizes(options), *shape, options["output_gain"])


def _wire(inputs: int, outputs: int, options: Options) -> Network:
    return Wire(inputs, outputs, *_sizes(options), options["frequency"], options["sharpness"], options["output_gain"])


def _chebyshev(inputs: int, outputs: int, options: Options) -> Network:
    degree, rank = int(options["degree"]), int(options["rank"])
    return ChebyshevNetwork(inputs, outputs, *_sizes(options), degree, rank, options["output_gain"])


def _polynomial(inputs: int, outputs: int, options: Options) -> Network:
    width, levels = int(options["width"]), int(options["levels"])
    return PolynomialNetwork(inputs, outputs, width, levels, options["slope"], options["output_gain"])


def _fourier_filters(inputs: int, outputs: int, options: Options) -> Network:
    return FourierFilterNetwork(inputs, outputs, *_sizes(options), options["frequency"], options["output_gain"])


def _gabor_filters(inputs: int, outputs: int, options: Options) -> Network:
    shape = options["frequency"], options["sharpness"]
    return GaborFilterNetwork(inputs, outputs, *_sizes(options), *shape, options["output_gain"])


def _bacon(inputs: int, outputs: int, options: Options) -> Network:
    return Bacon(inputs, outputs, *_sizes(options), options["band"], options["output_gain"])


_SIZES = {"width": 256, "hidden_layers": 3}
_BACKBONES = (
    _Backbone("finer", _finer, _SIZES | {"w0": 30.0}, 1e-3),
    _Backbone("gaussian", _activated(GaussianNetwork), _SIZES | {"factor": 10.0}, 1e-3),
    _Backbone("quadratic", _activated(QuadraticNetwork), _SIZES | {"factor": 10.0}, 1e-3),
    _Backbone("sinc", _activated(SincNetwork), _SIZES | {"factor": 15.0}, 1e-3),
    _Backbone("gabor", _real_gabor, {"width": 256, "hidden_layers": 2, "frequency": 10.0, "sharpness": 10.0}, 1e-3),
    _Backbone("wire", _wire, {"width": 181, "hidden_layers": 2, "frequency": 10.0, "sharpness": 10.0}, 1e-3),
    _Backbone("chebyshev", _chebyshev, _SIZES | {"degree": 256, "rank": 128}, 1e-3, stretched=False),
    _Backbone("polynomial", _polynomial, {"width": 128, "levels": 8, "slope": 0.2}, 1e-3, stretched=False),
    _Backbone("mfn-fourier", _fourier_filters, _SIZES | {"frequency": 64.0}, 1e-2),
    _Backbone("mfn-gabor", _gabor_filters, _SIZES | {"frequency": 64.0, "sharpness": 6.0}, 1e-2),
    _Backbone("bacon", _bacon, {"width": 256, "hidden_layers": 4, "band": 128.0}, 1e-3),
)


def _representation(backbone: _Backbone) -> Representation:
    def field(target: Target, options: Options) -> ComposedField:
        dimension = target.domain.dimension
        network = backbone.make(dimension, target.channels, options)
        return ComposedField(target.domain, IdentityEncoding(dimension, options["stretch"]), network, [target.head()])

    def recipe(signal: Signal | Shape | Points) -> Recipe:
        stretch = stretch_of(signal) if backbone.stretched else 1.0
        options = backbone.options | {"output_gain": 1.0, "stretch": stretch}
        rates = backbone.rate, backbone.rate, 0.05
        if isinstance(signal, Points):
            half = {"width": backbone.options["width"] // 2, "output_gain": 0.1}
            return Recipe(backbone.name, options | half, *rates, 3 * 2**11, 1500)
        if isinstance(signal, Shape):
            return Recipe(backbone.name, options | {"output_gain": 0.1}, *rates, 2**13, 1500)
        return Recipe(backbone.name, options, *rates, 2**14, 1500)

    return Representation(backbone.name, field, recipe)


COORDINATE_NETWORKS = tuple(_representation(each) for each in _BACKBONES)
