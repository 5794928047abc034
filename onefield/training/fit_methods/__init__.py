"""Ways of fitting that any representation can take, one file each; listing one here makes it a name for ``fit``."""

from __future__ import annotations

from collections.abc import Sequence

from onefield.errors import UsageError, nearest_name
from onefield.training.fit_methods.coarse_to_fine import CoarseToFine
from onefield.training.fit_methods.fit_method import FitMethod, FitParts, SampleBatch, joined, squared_error
from onefield.training.fit_methods.frequency_shift import FrequencyShift
from onefield.training.fit_methods.gradient_adjustment import GradientAdjustment
from onefield.training.fit_methods.iterative_refinement import IterativeRefinement
from onefield.training.fit_methods.kept_variance import KeptVariance
from onefield.training.fit_methods.learned_start import LearnedStart, load_start
from onefield.training.fit_methods.singular_places import SingularPlaces
from onefield.training.fit_methods.stochastic_similarity import StochasticSimilarity
from onefield.training.fit_methods.teaching import Teaching
from onefield.training.fit_methods.total_variation import TotalVariation

__all__ = [
    "METHOD_NAMES",
    "CoarseToFine",
    "FitMethod",
    "FitParts",
    "FrequencyShift",
    "GradientAdjustment",
    "IterativeRefinement",
    "KeptVariance",
    "LearnedStart",
    "SampleBatch",
    "SingularPlaces",
    "StochasticSimilarity",
    "Teaching",
    "TotalVariation",
    "joined",
    "load_start",
    "methods_of",
    "squared_error",
]

_METHODS = {
    each.name: each
    for each in (
        CoarseToFine,
        FrequencyShift,
        GradientAdjustment,
        IterativeRefinement,
        KeptVariance,
        SingularPlaces,
        StochasticSimilarity,
        Teaching,
        TotalVariation,
    )
}
METHOD_NAMES = tuple(_METHODS)
_START_SUFFIX = ".safetensors"


def methods_of(chosen: Sequence[str | FitMethod]) -> list[FitMethod]:
    """Methods, with their usual settings where they are named; names of files are learned starts.

    Raises:
        UsageError: an unknown name, or a method twice.
        DataError: a file that is no start.
    """
    found = []
    for each in (chosen,) if isinstance(chosen, str | FitMethod) else chosen:
        if isinstance(each, FitMethod):
            found.append(each)
        elif not isinstance(each, str):
            raise UsageError(f"Methods of fitting are names or objects such as Teaching(), got {each!r}.")
        elif each.endswith(_START_SUFFIX):
            found.append(load_start(each))
        elif each in _METHODS:
            found.append(_METHODS[each]())
        else:
            raise UsageError(f"Unknown method of fitting '{each}': {nearest_name(each, METHOD_NAMES)}.")
    names = [method.name for method in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The method '{name}' is given twice; give it once.")
    return found
