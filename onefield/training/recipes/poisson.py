"""Screened Poisson reconstruction by Open3D, of points alone."""

from __future__ import annotations

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.mesh_distance import MeshDistance
from onefield.meshing.poisson import poisson_library
from onefield.training.recipes.recipe import POISSON_NAME, Recipe, Representation, Target


def _field(target: Target, options: dict[str, float]) -> MeshDistance:
    """Of a mesh of the right size, to be loaded."""
    vertices, faces = int(options["vertices"]), int(options["faces"])
    return MeshDistance(target.domain, torch.zeros(vertices, 3), torch.zeros(faces, 3, dtype=torch.int64))


def _recipe(signal: Signal | Shape | Points) -> Recipe:
    if not isinstance(signal, Points):
        raise UsageError(
            f"'{POISSON_NAME}' finds surfaces in points, in no {signal.kind}; take another, such as 'hash' or 'siren'."
        )
    poisson_library()  # said before other work begins
    # reconstructed, not trained; vertices and faces are as many as come out
    return Recipe(POISSON_NAME, {"depth": 8, "vertices": 0, "faces": 0}, 0.0, 0.0, 1.0, 0, 0)


POISSON = Representation(POISSON_NAME, _field, _recipe)
