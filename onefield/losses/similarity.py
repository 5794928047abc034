"""Dissimilarity of structure: what a picture's neighbourhoods look like, rather than its pixels."""

from __future__ import annotations

from torch import Tensor

from onefield.cameras import Picture
from onefield.errors import UsageError
from onefield.kernels.structural_similarity import structural_similarity
from onefield.losses.term import Evidence, LossTerm


def dissimilarity_term(weight: float = 0.2) -> LossTerm:
    """One minus the mean structural similarity (Wang et al. 2004) of a whole picture to its photo.

    It needs a step that renders a picture; on single rays it raises UsageError.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        if not isinstance(evidence.rays, Picture):
            raise UsageError("The loss 'dssim' compares whole pictures, but this method is trained on single rays.")
        shape = (*evidence.rays.shape, evidence.prediction.shape[-1])
        return 1 - structural_similarity(evidence.prediction.reshape(shape), evidence.target.reshape(shape))

    return LossTerm("dssim", weight, evaluate)
