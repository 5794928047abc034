"""FlexiCubes, of meshes alone."""

from __future__ import annotations

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.flexicubes import FlexiCubesField
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.training.recipes.recipe import Recipe, Representation, Target

# How often the leaves of an octree can be halved: parts of a shape as thin as half a largest leaf are still found.
_HALVINGS = 2


def _grid(target: Target, options: dict[str, float]) -> FlexiCubesField:
    # shapes have cubes as domains
    return FlexiCubesField(target.domain, torch.ones((int(options["resolution"]) + 1,) * 3))


def _octree(target: Target, options: dict[str, float]) -> OctreeFlexiCubesField:
    leaves = -(-int(options["resolution"]) // (1 << _HALVINGS))
    return OctreeFlexiCubesField.coarse(target.domain, (leaves,) * 3, _HALVINGS, torch.ones((leaves + 1,) * 3))


def _recipe(name: str, signal: Signal | Shape | Points) -> Recipe:
    if not isinstance(signal, Shape):
        raise UsageError(
            f"'{name}' is a surface and fits meshes, no {signal.kind}; take another, such as 'hash' or 'siren'."
        )
    # a batch is two views of all the shape
    return Recipe(name, {"resolution": 64}, 2e-2, 2e-2, 0.05, 2, 200)


def _sized(_options: dict[str, float], size: int) -> dict[str, float]:
    return {"resolution": size}


FLEXICUBES = Representation("flexicubes", _grid, lambda signal: _recipe("flexicubes", signal), sized=_sized)
ADAPTIVE_FLEXICUBES = Representation(
    "adaptive-flexicubes", _octree, lambda signal: _recipe("adaptive-flexicubes", signal), sized=_sized
)
