"""Iterative refinement around the field of any other recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.heads.value import ValueHead
from onefield.fields.iterative import IterativeField
from onefield.training.recipes.recipe import Target

# Says in a recipe's options that its field is refined, and in how many steps.
REFINEMENT_STEPS = "refinement_steps"
# What the backbone says besides its values, and the width of the small networks.
_FEATURES = 16


def iterative_field(
    build: Callable[[Target, dict[str, float]], Field], target: Target, options: dict[str, float]
) -> IterativeField:
    """A field with a builder's as its backbone.

    Raises:
        UsageError: a target that is no value.
    """
    if target.quantity != "value":
        raise UsageError(f"Iterative refinement is for fields of values, not of '{target.quantity}'.")
    featured = replace(target, channels=target.channels + _FEATURES, offset=0.0, scale=1.0)
    head = ValueHead(target.offset, target.scale)
    return IterativeField(build(featured, options), target.channels, _FEATURES, head, int(options[REFINEMENT_STEPS]))
