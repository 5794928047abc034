"""Questions about signals that are not all there, one file each; listing one here makes it a name for ``fit``."""

from __future__ import annotations

from dataclasses import fields

from onefield.errors import UsageError, nearest_name
from onefield.training.tasks.denoising import Denoising
from onefield.training.tasks.inpainting import Inpainting
from onefield.training.tasks.poisson import Composition, FromDerivatives
from onefield.training.tasks.super_resolution import SuperResolution
from onefield.training.tasks.task import Problem, SignalLike, Task
from onefield.training.tasks.tomography import Tomography

__all__ = ["TASK_NAMES", "Problem", "SignalLike", "Task", "task_named"]

_TASKS: dict[str, type[Task]] = {
    each.name: each for each in (Composition, Denoising, FromDerivatives, Inpainting, SuperResolution, Tomography)
}
TASK_NAMES = tuple(_TASKS)


def task_named(name: str, options: dict[str, SignalLike | float | bool | None] | None = None) -> Task:
    """A task by its name.

    Args:
        options: of the task's record; those that are None count as not given.

    Raises:
        UsageError: an unknown name, or an option that this task does not have.
    """
    if name not in _TASKS:
        raise UsageError(f"Unknown task '{name}': {nearest_name(name, TASK_NAMES)}.")
    task = _TASKS[name]
    given = {key: value for key, value in (options or {}).items() if value is not None}
    known = {entry.name for entry in fields(task)}
    for key in given:
        if key not in known:
            raise UsageError(f"The task '{name}' takes no {key}; it takes {', '.join(sorted(known))}.")
    return task(**given)
