"""Factorised networks with networks of one's choice on their axes, by names such as ``functional-tt:finer``."""

from __future__ import annotations

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError, nearest_name
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.networks import BACKBONES, Backbone, Network
from onefield.training.recipes.functional import FACTORISATIONS, Factorisation
from onefield.training.recipes.recipe import Options, Recipe, Representation, Target, stretch_of

# Between the factorisation and the network of all axes, and between those of the first, second, ... coordinate.
_OF, _AND = ":", "+"
# As wide as the sines of the usual factorisations.
_WIDTH = 64
# Places and outputs by which the deviation of an untrained network's answers is measured.
_PLACES, _OUTPUTS = 256, 64


def with_axis_networks(name: str) -> Representation | None:
    """The representation of a name with a colon, None for one without.

    ``functional-cp:wire`` has complex wavelets on every axis; ``functional-cp:siren+siren+gaussian`` has sines on the
    first two coordinates and Gaussians on the third.

    Raises:
        UsageError: no factorisation or no network of that name.
    """
    kind, colon, listed = name.partition(_OF)
    if not colon:
        return None
    if kind not in FACTORISATIONS:
        raise UsageError(f"'{kind}' takes no networks on its axes: {nearest_name(kind, tuple(FACTORISATIONS))}.")
    known = {backbone.name: backbone for backbone in BACKBONES}
    names = listed.split(_AND)
    for each in names:
        if each not in known:
            raise UsageError(f"Unknown network '{each}' in '{name}': {nearest_name(each, tuple(known))}.")
    return _representation(name, FACTORISATIONS[kind], [known[each] for each in names])


def _representation(name: str, factorisation: Factorisation, chosen: list[Backbone]) -> Representation:
    def on_axes(axes: int) -> list[Backbone]:
        return chosen * axes if len(chosen) == 1 else chosen

    def field(target: Target, options: Options) -> ComposedField:
        dimension = target.domain.dimension
        order = iter(enumerate(on_axes(dimension)))

        def axis(inputs: int, outputs: int) -> Network:
            number, backbone = next(order)
            return backbone.build(inputs, outputs, {key: options[_option(number, key)] for key in _keys(backbone)})

        network = factorisation.kind(dimension, target.channels, int(options["rank"]), axis)
        return ComposedField(target.domain, IdentityEncoding(dimension, options["stretch"]), network, [target.head()])

    def recipe(signal: Signal | Shape | Points) -> Recipe:
        axes = len(signal.shape) if isinstance(signal, Signal) else 3
        factorisation.check(axes, signal.kind)
        if len(chosen) not in (1, axes):
            raise UsageError(f"'{name}' names networks of {len(chosen)} axes, but the {signal.kind} has {axes}.")
        options = {"rank": factorisation.rank, "stretch": stretch_of(signal) if stretched else 1.0}
        for number, backbone in enumerate(on_axes(axes)):
            own = _sized(backbone, _WIDTH)
            own["output_gain"] = factorisation.axis_deviation(axes) / _first_deviation(backbone, own)
            options |= {_option(number, key): value for key, value in own.items()}
        rate = min(backbone.rate for backbone in chosen)
        batch = 2**14 if isinstance(signal, Signal) else 3 * 2**11
        return Recipe(name, options, rate, rate, 0.05, batch, 1500)

    def sized(options: Options, size: int) -> Options:
        axes = sum(key.endswith("_output_gain") for key in options)
        return {
            _option(number, key): value
            for number, backbone in enumerate(on_axes(axes))
            for key, value in _sized(backbone, size).items()
        }

    stretched = all(backbone.stretched for backbone in chosen)
    return Representation(name, field, recipe, "stretch" if stretched else None, sized)


def _option(axis: int, key: str) -> str:
    return f"axis{axis}_{key}"


def _keys(backbone: Backbone) -> tuple[str, ...]:
    return (*backbone.options, "output_gain")


def _sized(backbone: Backbone, width: int) -> Options:
    """A network's options at another width."""
    share = width / backbone.options["width"]
    return backbone.options | {key: max(1, round(share * backbone.options[key])) for key in backbone.growing}


def _first_deviation(backbone: Backbone, options: Options) -> float:
    """Of an untrained network's answers on [-1, 1], where nothing scales its output."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = backbone.build(1, _OUTPUTS, options | {"output_gain": 1.0})
        return network(torch.linspace(-1, 1, _PLACES)[:, None]).std().item()
