"""FlexiCubes, of meshes alone."""

from __future__ import annotations

import torch

from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.flexicubes import FlexiCubesField
from onefield.training.recipes.recipe import Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> FlexiCubesField:
    # shapes have cubes as domains
    return FlexiCubesField(target.domain, torch.ones((int(options["resolution"]) + 1,) * 3))


def _recipe(signal: Signal | Shape) -> Recipe:
    if not isinstance(signal, Shape):
        raise UsageError(
            f"'flexicubes' is a surface and fits meshes, no {signal.kind}; take another, such as 'hash' or 'siren'."
        )
    # a batch is two views of all the shape
    return Recipe("flexicubes", {"resolution": 64}, 2e-2, 2e-2, 0.05, 2, 200)


FLEXICUBES = Representation("flexicubes", _field, _recipe, sized=lambda options, size: {"resolution": size})
