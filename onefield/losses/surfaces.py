"""Regularisers of surfaces of FlexiCubes while they are optimised from photos.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023), sections 4.4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onefield.fields.flexicubes import FlexiCubes
from onefield.losses.meshes import bending, developability, sign_changes
from onefield.losses.term import Evidence, LossTerm
from onefield.types import FlexiCubesSurface

# As in the authors' example: once the shape is there, signs need no more than a twentieth of the first weight, to which
# it falls over the first quarter of a run; and only the last fifth of a run bends the surface as paper does.
SIGN_CHANGES_LEFT, SIGN_CHANGES_UNTIL = 0.05, 0.25
DEVELOPABILITY_FROM = 0.8


def surface_grid(evidence: Evidence) -> FlexiCubes | None:
    """The FlexiCubes in the field that is trained; None where it has none."""
    return next((module for module in evidence.field.modules() if isinstance(module, FlexiCubes)), None)


def deviation_term(weight: float = 0.5) -> LossTerm:
    """How unevenly crossings lie about their vertices: flat places stay even, quadrilaterals regular."""
    return LossTerm("deviation", weight, _of_surface(lambda surface: surface.deviations.mean()))


def bending_term(weight: float = 0.01) -> LossTerm:
    """`onefield.losses.meshes.bending`: the smoothest surface of those that photos can't tell apart."""
    return LossTerm("bending", weight, _of_surface(lambda surface: bending(surface.vertices, surface.faces)))


def developability_term(weight: float = 0.1) -> LossTerm:
    """`onefield.losses.meshes.developability`, in the last fifth of a run."""

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.progress < DEVELOPABILITY_FROM:
            return evidence.prediction.new_zeros(())
        return _of_surface(lambda surface: developability(surface.vertices, surface.faces).mean())(evidence)

    return LossTerm("developability", weight, evaluate)


def sign_changes_term(weight: float = 0.2) -> LossTerm:
    """`onefield.losses.meshes.sign_changes` of values at the ends of edges: closes what no photo shows."""

    def evaluate(evidence: Evidence) -> Tensor:
        grid = surface_grid(evidence)
        if grid is None:
            return evidence.prediction.new_zeros(())
        share = min(1.0, evidence.progress / SIGN_CHANGES_UNTIL)
        return (1 + (SIGN_CHANGES_LEFT - 1) * share) * sign_changes(*grid.neighbouring_values())

    return LossTerm("sign_changes", weight, evaluate)


def weight_change_term(weight: float = 0.1) -> LossTerm:
    """Mean magnitude of the weights' parameters, which are 0 at rest."""

    def evaluate(evidence: Evidence) -> Tensor:
        grid = surface_grid(evidence)
        if grid is None:
            return evidence.prediction.new_zeros(())
        return torch.cat((grid.corner_weights, grid.edge_weights), dim=-1).abs().mean()

    return LossTerm("weight_change", weight, evaluate)


def _of_surface(measure: Callable[[FlexiCubesSurface], Tensor]) -> Callable[[Evidence], Tensor]:
    """A measure of the surface that was drawn; 0 where there is none, or it has no face."""

    def evaluate(evidence: Evidence) -> Tensor:
        surface = None if evidence.rendering is None else evidence.rendering.surface
        if surface is None or not len(surface.faces):
            return evidence.prediction.new_zeros(())
        return measure(surface)

    return evaluate
