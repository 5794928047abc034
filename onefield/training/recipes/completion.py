"""Networks that complete points by what a collection of shapes taught them."""

from __future__ import annotations

from onefield.fields.composed import ComposedField
from onefield.fields.conv_occupancy import occupancy_field
from onefield.training.recipes.recipe import Target


def completed_field(target: Target, options: dict[str, float]) -> ComposedField:
    """Occupancy decoded from planes or a volume of features that an encoder of points fills."""
    planes, volume, channels, blocks = (int(options[name]) for name in ("planes", "volume", "channels", "blocks"))
    return occupancy_field(target.domain, planes, volume, channels, blocks)
