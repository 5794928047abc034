"""Solutions that go on in time by changing a field's parameters, step by step.

Source: Chen et al., "Implicit neural spatial representations for time-dependent PDEs" (2023): time is discretised,
space is not. Each step starts from the parameters of the one before and looks for those that obey the equation between
two moments, here by `solve` instead of by stochastic descent.
"""

from __future__ import annotations

from collections.abc import Callable

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.equations.least_squares import Condition, PointFunction, as_function, solve

# Of the last moments, the newest first: what should hold of the next one.
Law = Callable[[list[PointFunction]], list[Condition]]


def advance(
    field: Field,
    law: Law,
    steps: int,
    *,
    former: list[PointFunction] | None = None,
    iterations: int = 4,
    first_iterations: int | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    observe: Callable[[int, Field], None] | None = None,
) -> float:
    """Takes a field from one moment through so many time steps.

    Args:
        field: the solution at the first moment; changed in place.
        law: of the moments before, what should hold of the next.
        former: moments before the first one, newest first, for laws that look further back.
        iterations, tolerance: of `solve`, for each step.
        first_iterations: of the first step, which may have to find what the first moment doesn't tell, as a pressure.
        observe: is told each step's number, from 1, and the field then.

    Returns:
        The greatest root mean square residual that a step ended with.

    Raises:
        UsageError: no steps.
    """
    if steps < 1:
        raise UsageError(f"Going on in time takes a positive number of steps, got {steps}.")
    moments = [as_function(field), *(former or [])]
    worst = 0.0
    for step in range(steps):
        count = first_iterations if step == 0 and first_iterations is not None else iterations
        left = solve(field, law(moments), iterations=count, tolerance=tolerance, seed=seed + step)
        worst = max(worst, left)
        moments = [as_function(field), *moments[:-1]] if former else [as_function(field)]
        if observe is not None:
            observe(step + 1, field)
    return worst
