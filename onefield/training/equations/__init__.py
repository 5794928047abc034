"""Differential equations by fields, one file each; listing one here makes it a name for ``onefield solve``."""

from __future__ import annotations

from onefield.errors import UsageError, nearest_name
from onefield.training.equations.advection import ADVECTION
from onefield.training.equations.eikonal import EIKONAL
from onefield.training.equations.elasticity import ELASTICITY
from onefield.training.equations.fluid import FLUID
from onefield.training.equations.helmholtz import HELMHOLTZ
from onefield.training.equations.point_source import POINT_SOURCE
from onefield.training.equations.study import Solved, Study
from onefield.training.equations.wave import WAVE

__all__ = ["STUDIES", "Solved", "Study", "study_named"]

STUDIES = {each.name: each for each in (ADVECTION, EIKONAL, ELASTICITY, FLUID, HELMHOLTZ, POINT_SOURCE, WAVE)}


def study_named(name: str) -> Study:
    """A problem with a known solution by its name.

    Raises:
        UsageError: an unknown name.
    """
    if name not in STUDIES:
        raise UsageError(f"Unknown problem '{name}': {nearest_name(name, tuple(STUDIES))}.")
    return STUDIES[name]
