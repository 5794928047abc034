"""Losses on what a field's occupancy shows, where it is rendered beside its distance."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from onefield.losses.term import Evidence, LossTerm

PREFIX = "occupied_"
"""Of the names of such summands."""


def by_occupancy(term: LossTerm) -> LossTerm:
    """The same summand, of the same weight, of `onefield.types.Rendering.occupied`; 0 where there is none."""

    def evaluate(evidence: Evidence) -> Tensor:
        shown = None if evidence.rendering is None else evidence.rendering.occupied
        if shown is None:
            return evidence.prediction.new_zeros(())
        prediction = evidence.as_photographed(shown.color, shown.opacity)
        return term.evaluate(replace(evidence, prediction=prediction, rendering=shown))

    return LossTerm(PREFIX + term.name, term.weight, evaluate)
