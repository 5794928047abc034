"""Lines and planes of features with a small network."""

from __future__ import annotations

from collections.abc import Callable

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.low_rank import CpEncoding, VmEncoding
from onefield.fields.encodings.planes import KPlanesEncoding, TriPlaneEncoding
from onefield.fields.networks.mlp import Mlp
from onefield.training.recipes.recipe import Options, Recipe, Representation, Target

# Vertices along an axis of shapes, which have no samples to go by.
_SHAPE_VERTICES = 128


def _cp(dimension: int, options: Options) -> Encoding:
    return CpEncoding(dimension, int(options["vertices"]), int(options["features"]))


def _vm(_dimension: int, options: Options) -> Encoding:
    return VmEncoding(int(options["vertices"]), int(options["features"]))


def _tri_plane(dimension: int, options: Options) -> Encoding:
    return TriPlaneEncoding(dimension, int(options["vertices"]), int(options["features"]))


def _k_planes(dimension: int, options: Options) -> Encoding:
    finest = int(options["vertices"])
    return KPlanesEncoding(dimension, tuple(max(2, finest // part) for part in (4, 2, 1)), int(options["features"]))


def _axes(signal: Signal | Shape | Points) -> int:
    return len(signal.shape) if isinstance(signal, Signal) else 3


def _representation(
    name: str, encoding: Callable[[int, Options], Encoding], features: int, axes: tuple[int, ...], growing: str
) -> Representation:
    """Of signals of so many axes, larger by one of its options."""

    def field(target: Target, options: Options) -> ComposedField:
        encoded = encoding(target.domain.dimension, options)
        gain = options["output_gain"]
        sizes = int(options["width"]), int(options["hidden_layers"])
        network = Mlp(encoded.output_dimension, target.channels, *sizes, output_gain=gain)
        return ComposedField(target.domain, encoded, network, [target.head()])

    def recipe(signal: Signal | Shape | Points) -> Recipe:
        if _axes(signal) not in axes:
            wanted = " or ".join(map(str, axes))
            raise UsageError(
                f"'{name}' has features on planes and fits signals of {wanted} axes, but the {signal.kind} has "
                f"{_axes(signal)}; take another, such as 'hash' or 'siren'."
            )
        options = {"features": features, "width": 64, "hidden_layers": 2, "output_gain": 1.0}
        if isinstance(signal, Signal):
            options["vertices"] = max(2, max(signal.shape) // 2)
            return Recipe(name, options, 1e-2, 2e-3, 0.01, 2**15, 1500)
        options |= {"vertices": _SHAPE_VERTICES, "output_gain": 0.1}
        return Recipe(name, options, 1e-2, 2e-3, 0.01, 3 * 2**11 if isinstance(signal, Points) else 2**14, 1500)

    return Representation(name, field, recipe, sized=lambda options, size: {growing: size + 1, "hidden_layers": 1})


LOW_RANK = (
    _representation("cp", _cp, 64, (1, 2, 3), "features"),
    _representation("vm", _vm, 8, (3,), "vertices"),
    _representation("tri-plane", _tri_plane, 8, (2, 3), "vertices"),
    _representation("k-planes", _k_planes, 8, (2, 3), "vertices"),
)
