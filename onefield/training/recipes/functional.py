"""Products of networks of one coordinate each, and networks generated from one vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.networks.factorised import CpNetwork, FactorisedNetwork, TensorTrainNetwork, TuckerNetwork
from onefield.fields.networks.network import Network
from onefield.fields.networks.projected import ProjectedNetwork
from onefield.fields.networks.siren import Siren
from onefield.training.recipes.recipe import Options, Recipe, Representation, Target, stretch_of

Factorised = Callable[[int, int, int, Callable[[int, int], Network]], FactorisedNetwork]


def _siren(inputs: int, outputs: int, options: Options) -> Network:
    sizes = int(options["width"]), int(options["hidden_layers"])
    return Siren(inputs, outputs, *sizes, options["w0"], output_gain=options["output_gain"])


@dataclass(frozen=True)
class Factorisation:
    """A way to join networks of one coordinate each.

    Attributes:
        name: for ``fit``.
        kind: makes the network.
        rank: of a recipe.
        least_axes: that it joins.
        summands: products that it adds up, each of variance 1 where the axes' networks have it, by the number of axes.
    """

    name: str
    kind: Factorised
    rank: int
    least_axes: int
    summands: Callable[[int], float]

    def check(self, axes: int, signal: str) -> None:
        """Refuses a kind of signal with too few axes.

        Raises:
            UsageError: it has.
        """
        if axes < self.least_axes:
            raise UsageError(
                f"'{self.name}' joins networks of {self.least_axes} axes or more, but the {signal} has {axes}; take "
                "another, such as 'siren'."
            )

    def axis_deviation(self, axes: int) -> float:
        """Of the answers of each axis's network, so that the sum of products begins with a deviation of 0.3."""
        return (0.3 / self.summands(axes) ** 0.5) ** (1 / axes)


def _of_sines(factorisation: Factorisation) -> Representation:
    def field(target: Target, options: Options) -> ComposedField:
        dimension = target.domain.dimension

        def axis(inputs: int, outputs: int) -> Network:
            return _siren(inputs, outputs, options)

        network = factorisation.kind(dimension, target.channels, int(options["rank"]), axis)
        return ComposedField(target.domain, IdentityEncoding(dimension, options["stretch"]), network, [target.head()])

    def recipe(signal: Signal | Shape | Points) -> Recipe:
        axes = len(signal.shape) if isinstance(signal, Signal) else 3
        factorisation.check(axes, signal.kind)
        options = {"rank": factorisation.rank, "width": 64, "hidden_layers": 2, "w0": 30.0}
        options["stretch"] = stretch_of(signal)
        # a sine network answers with a deviation of about 1 / w0 where nothing scales its output
        options["output_gain"] = options["w0"] * factorisation.axis_deviation(axes)
        batch = 2**14 if isinstance(signal, Signal) else 3 * 2**11
        return Recipe(factorisation.name, options, 1e-3, 1e-3, 0.05, batch, 1500)

    return Representation(factorisation.name, field, recipe, "stretch")


def _bayesian_field(target: Target, options: Options) -> BayesianTucker:
    network = TuckerNetwork(
        target.domain.dimension,
        target.channels,
        int(options["rank"]),
        lambda inputs, outputs: _siren(inputs, outputs, options),
    )
    return BayesianTucker(
        target.domain, network, int(options["modes"]), options["stretch"], target.offset, target.scale
    )


def _bayesian_recipe(signal: Signal | Shape | Points) -> Recipe:
    if not isinstance(signal, Signal):
        raise UsageError(
            f"'bayesian-tucker' tells how sure it is of samples of a signal, which a {signal.kind} has not; take "
            "another, such as 'functional-tucker'."
        )
    recipe = _TUCKER.recipe(signal)
    # the posterior's covariance is a matrix of rank^axes + modes^axes numbers a side
    rank, modes = _BAYESIAN_SIZES[len(signal.shape)]
    return replace(recipe, field="bayesian-tucker", options=recipe.options | {"rank": rank, "modes": modes})


def _projected_field(target: Target, options: Options) -> ComposedField:
    dimension = target.domain.dimension
    network = ProjectedNetwork(
        lambda: _siren(dimension, target.channels, options), int(options["latent"]), int(options["seed"])
    )
    return ComposedField(target.domain, IdentityEncoding(dimension, options["stretch"]), network, [target.head()])


def _projected_recipe(signal: Signal | Shape | Points) -> Recipe:
    options = {"latent": 2000, "seed": 0, "width": 48, "hidden_layers": 2, "w0": 30.0, "output_gain": 1.0}
    options["stretch"] = stretch_of(signal)
    batch = 2**14 if isinstance(signal, Signal) else 3 * 2**11
    return Recipe("projected", options, 3e-2, 3e-2, 0.05, batch, 1500)


def _projected_sized(options: Options, size: int) -> Options:
    """Vectors of no more numbers than the network that they generate has weights, roughly."""
    return {"latent": min(size, int(options["hidden_layers"] * options["width"] ** 2))}


FACTORISATIONS = {
    each.name: each
    for each in (
        Factorisation("functional-cp", CpNetwork, 64, 1, lambda axes: 64),
        Factorisation("functional-tt", TensorTrainNetwork, 16, 2, lambda axes: 16 ** (axes - 1)),
        # its core has the sum's variance already
        Factorisation("functional-tucker", TuckerNetwork, 24, 1, lambda axes: 1),
    )
}
_TUCKER = _of_sines(FACTORISATIONS["functional-tucker"])
# rank and modes, by axes
_BAYESIAN_SIZES = {1: (64, 256), 2: (24, 24), 3: (10, 8)}
FUNCTIONAL = (
    *(_of_sines(each) for each in FACTORISATIONS.values()),
    Representation("bayesian-tucker", _bayesian_field, _bayesian_recipe, "stretch"),
    Representation("projected", _projected_field, _projected_recipe, "stretch", _projected_sized),
)
