"""Closest points of surfaces that may be open."""

from __future__ import annotations

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.heads.closest_point import ClosestPointHead, UnsignedDistanceHead
from onefield.training.recipes.hash_grid import hash_sized, hashed
from onefield.training.recipes.recipe import CLOSEST_POINT_NAME, Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> ComposedField:
    return hashed(target, options, [ClosestPointHead(target.scale), UnsignedDistanceHead(target.scale)])


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    if isinstance(signal, Signal):
        raise UsageError(
            f"'{CLOSEST_POINT_NAME}' fits surfaces, from meshes and points, no {signal.kind}; take another, such as "
            "'hash' or 'siren'."
        )
    options = {"levels": 10, "features": 2, "width": 64, "hidden_layers": 2, "base_resolution": 16}
    options |= {"log2_table_size": 16, "finest_resolution": 128}
    return Recipe(CLOSEST_POINT_NAME, options, 1e-2, 2e-3, 0.01, 3 * 2**12, 2000)


CLOSEST_POINT = Representation(CLOSEST_POINT_NAME, _field, _recipe, sized=hash_sized)
