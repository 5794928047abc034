"""Losses on distances by differences over a cell of their hash grid (Li et al. 2023, Neuralangelo)."""

from __future__ import annotations

from torch import Tensor

from onefield.fields.numerical_derivatives import finest_cell, tetrahedral_derivatives
from onefield.losses.eikonal import eikonal, sampled_points
from onefield.losses.term import Evidence, LossTerm


def curvature_term(weight: float = 0.1, most: int = 4096) -> LossTerm:
    """Mean absolute Laplacian of the distance where it was sampled, times the edge of a cell of the finest level used.

    So it is the bend of the surface within a cell, and counts less as finer levels come, as in Neuralangelo (section
    3.3; there the factor is part of the weight's schedule).

    Args:
        most: points a step, for the cost.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        points = sampled_points(evidence, most)
        if points.shape[0] == 0:
            return evidence.prediction.new_zeros(())
        cell = finest_cell(evidence.field)
        return cell * tetrahedral_derivatives(evidence.field, points, "distance", cell).laplacian.abs().mean()

    return LossTerm("curvature", weight, evaluate)


def wide_eikonal_term(weight: float = 0.1, most: int = 8192) -> LossTerm:
    """`eikonal` of slopes across a cell of the finest level in use, where the distance was sampled.

    Args:
        most: points a step, for the cost.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        points = sampled_points(evidence, most)
        if points.shape[0] == 0:
            return evidence.prediction.new_zeros(())
        slopes = tetrahedral_derivatives(evidence.field, points, "distance", finest_cell(evidence.field)).gradient
        return eikonal(slopes)

    return LossTerm("wide_eikonal", weight, evaluate)
