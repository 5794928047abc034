"""How each representation fits each kind of signal, one file each; listing one here makes it a name for ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from numbers import Real

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import DataError, UsageError, nearest_name
from onefield.fields.field import Field
from onefield.training.recipes.axis_networks import with_axis_networks
from onefield.training.recipes.closest_point import CLOSEST_POINT
from onefield.training.recipes.completion import completed_field
from onefield.training.recipes.coordinate_networks import COORDINATE_NETWORKS
from onefield.training.recipes.dense_grid import DENSE_GRID
from onefield.training.recipes.flexicubes import ADAPTIVE_FLEXICUBES, FLEXICUBES
from onefield.training.recipes.fourier import FOURIER
from onefield.training.recipes.functional import FUNCTIONAL
from onefield.training.recipes.hash_grid import HASH_GRID
from onefield.training.recipes.iterative import REFINEMENT_STEPS, iterative_field
from onefield.training.recipes.low_rank import LOW_RANK
from onefield.training.recipes.poisson import POISSON
from onefield.training.recipes.recipe import (
    CLOSEST_POINT_NAME,
    POISSON_NAME,
    Recipe,
    Representation,
    Target,
    target_of,
)
from onefield.training.recipes.siren import SIREN
from onefield.training.recipes.slices import orex_field, slice_grid_field
from onefield.training.seeds import checked_seed

__all__ = [
    "CLOSEST_POINT_NAME",
    "COMPLETION_NAMES",
    "FIELD_NAMES",
    "POISSON_NAME",
    "SOLVED_NAMES",
    "SURFACE_NAMES",
    "Recipe",
    "Representation",
    "Target",
    "band_option",
    "build_field",
    "check_signal_field",
    "initial_field",
    "recipe_for",
    "target_of",
]

# Of signals; one that needs more axes than a signal has says so itself. SIREN's own recipe stands for that of its kind.
_REPRESENTATIONS = {
    each.name: each for each in (DENSE_GRID, FOURIER, HASH_GRID, *COORDINATE_NETWORKS, SIREN, *LOW_RANK, *FUNCTIONAL)
}
# Of surfaces alone.
_SURFACES = {each.name: each for each in (CLOSEST_POINT, FLEXICUBES, ADAPTIVE_FLEXICUBES, POISSON)}
_SLICE_BUILDERS: dict[str, Callable[[Target, dict[str, float]], Field]] = {
    "grid": slice_grid_field,
    "orex": orex_field,
}
_COMPLETION_BUILDERS: dict[str, Callable[[Target, dict[str, float]], Field]] = {
    "conv-occupancy": completed_field,
    "conv-occupancy-volume": completed_field,
}
# Networks that complete points by what a collection of shapes taught them.
COMPLETION_NAMES = tuple(_COMPLETION_BUILDERS)
FIELD_NAMES = tuple(_REPRESENTATIONS)
SURFACE_NAMES = tuple(_SURFACES)
_AUTOMATIC, _AUTOMATIC_FOR_POINTS = "hash", "dense"
# By how much narrower layers learn faster: 1 is right for the matrices between layers, whose units sum as many moves as
# they have inputs, and 0 for first layers and shifts (Yang et al., "Tensor Programs V", 2021); all have one rate here.
_WIDTH_POWER = 0.75
# What finds the surface of points without training.
SOLVED_NAMES = (_AUTOMATIC_FOR_POINTS, POISSON_NAME)


def recipe_for(
    name: str, signal: Signal | Shape | Points, places: int | None = None, parameters: int | None = None
) -> Recipe:
    """The recipe of a representation for a signal.

    Args:
        name: one of `FIELD_NAMES` (for shapes and points also `SURFACE_NAMES`), a factorisation with networks on its
            axes as `with_axis_networks` reads it, or ``"auto"``, which is the dense grid for points and the hash grid
            for every other kind of signal.
        places: points of a step at most; None takes as many as the signal has samples.
        parameters: makes the field as large as so many numbers allow; the recipe's own size by default. Grids with a
            network then have a small one, of one hidden layer. Networks of narrower layers learn at higher rates.

    Raises:
        UsageError: an unknown name, one that does not fit this kind of signal or needs a library that is not there, or
            fewer parameters than it has at least.
    """
    automatic = _AUTOMATIC_FOR_POINTS if isinstance(signal, Points) else _AUTOMATIC
    chosen = automatic if name == "auto" else name
    if chosen in COMPLETION_NAMES:
        raise UsageError(
            f"'{chosen}' completes points by weights that 'onefield fit FOLDER_OF_MESHES --field {chosen}' learned; "
            "give points, and --weights."
        )
    representation = _representation(chosen)
    if representation is None:
        raise UsageError(f"Unknown field '{name}': {nearest_name(name, ('auto', *FIELD_NAMES, *SURFACE_NAMES))}.")
    if chosen in _SURFACES and isinstance(signal, Shape) and signal.quantity != "distance":
        raise UsageError(
            f"'{chosen}' represents a surface, not {signal.quantity}; take another, such as 'hash' or 'siren'."
        )
    recipe = representation.recipe(signal)
    if parameters is not None:
        recipe = _sized(representation, recipe, signal, parameters)
    if isinstance(signal, Signal):
        return replace(recipe, batch=min(recipe.batch, math.prod(signal.shape) if places is None else places))
    return recipe


def check_signal_field(name: str) -> None:
    """Refuses what is no representation of signals on grids.

    Raises:
        UsageError: it is none.
    """
    if name not in _REPRESENTATIONS and with_axis_networks(name) is None:
        raise UsageError(f"Unknown field '{name}': {nearest_name(name, FIELD_NAMES)}.")


def _representation(name: str) -> Representation | None:
    """By its name; None for an unknown one."""
    return (_REPRESENTATIONS | _SURFACES).get(name) or with_axis_networks(name)


def _sized(representation: Representation, recipe: Recipe, signal: Signal | Shape | Points, parameters: int) -> Recipe:
    """The largest field that a number of parameters allows, by doubling and halving of its size."""
    if not isinstance(parameters, Real):
        raise UsageError(f"A field's size is a number of parameters, got {parameters!r}.")
    name, target = representation.name, target_of(signal, representation.name)
    if isinstance(signal, Points) and name in SOLVED_NAMES:
        raise UsageError(f"'{name}' has the size that its points ask for; size 'hash' or 'siren'.")

    def at(size: int) -> tuple[Recipe, int]:
        options = recipe.options | representation.sized(recipe.options, size)
        with torch.device("meta"):  # sizes without values
            field = representation.build(target, options)
        narrower = recipe.options["width"] / options["width"] if "width" in options else 1.0
        sized = replace(recipe, options=options, network_rate=narrower**_WIDTH_POWER * recipe.network_rate)
        return sized, sum(p.numel() for p in field.parameters())

    chosen, count = at(1)
    if not count <= parameters:
        raise UsageError(
            f"'{name}' needs {count} parameters or more for this {signal.kind}, got {parameters}; allow more, or take "
            "another field."
        )
    low, high = 1, 2
    candidate, grown = at(high)
    # some have a largest size
    while count < grown <= parameters:
        low, high, chosen, count = high, 2 * high, candidate, grown
        candidate, grown = at(high)
    while high - low > 1:
        middle = (low + high) // 2
        candidate, grown = at(middle)
        low, high, chosen = (middle, high, candidate) if grown <= parameters else (low, middle, chosen)
    return chosen


def build_field(name: str, options: dict[str, float], target: Target) -> Field:
    """An untrained field.

    Raises:
        DataError: an unknown name or a missing option, as in a file from elsewhere.
    """
    builders = _SLICE_BUILDERS | _COMPLETION_BUILDERS
    try:
        representation = _representation(name)
    except UsageError as error:
        raise DataError(f"A fit names the field '{name}'. {error}") from error
    build = builders.get(name) if representation is None else representation.build
    if build is None:
        known = (*FIELD_NAMES, *SURFACE_NAMES, *builders)
        raise DataError(f"A fit names the field '{name}'; {nearest_name(name, known)}.")
    try:
        if REFINEMENT_STEPS in options:
            return iterative_field(build, target, options)
        return build(target, options)
    except KeyError as error:
        raise DataError(f"A fit with the field '{name}' lacks the option {error}.") from error


def initial_field(recipe: Recipe, target: Target, seed: int) -> Field:
    """An untrained field of a recipe, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        return build_field(recipe.field, recipe.options, target)


def band_option(name: str) -> str | None:
    """The option that a representation's frequencies are proportional to; None for one that has none."""
    representation = _representation(name)
    return None if representation is None else representation.band_option
