"""Options of ``onefield fit`` about signals that are not all there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onefield.errors import UsageError

if TYPE_CHECKING:
    from onefield.training.tasks import Task


@dataclass(frozen=True)
class TaskOptions:
    """What the signal shows in part, and the field should show in whole.

    Attributes:
        task: denoise, inpaint (NaN, or where --mask is white), super-resolve (by --factor), tomography (the signal is a
            sinogram, a row an angle), from-derivatives (the picture again from its slopes alone), or compose (--insert
            into the signal where --mask is white, without a seam).
        truth: file with what the answer should be, to score it and the usual method without a field.
        mask: picture of the signal's size, white where inpaint fills in and where compose inserts.
        factor: samples an axis that super-resolve makes of each one given, 2 by default.
        angles: file (NPY) of one angle a row of the sinogram, in degrees; evenly over half a turn by default.
        insert: picture of the signal's size, of which compose takes what lies under the mask.
        mixed: compose by the steeper slope of both pictures, for things with holes.
        derivative: what from-derivatives is shown, gradient by default.
    """

    task: str | None = None
    truth: Path | None = None
    mask: Path | None = None
    factor: int | None = None
    angles: Path | None = None
    insert: Path | None = None
    mixed: bool = False
    derivative: Literal["gradient", "laplacian"] | None = None

    def chosen(self) -> Task | None:
        """The task with its options, None for the signal itself.

        Raises:
            UsageError: an unknown task, or an option that it does not have.
        """
        options = {
            "truth": self.truth,
            "mask": self.mask,
            "factor": self.factor,
            "angles": self.angles,
            "insert": self.insert,
            "mixed": self.mixed or None,
            "derivative": self.derivative,
        }
        if self.task is None:
            named = [name for name, value in options.items() if value is not None]
            if named:
                raise UsageError(f"--{named[0]} belongs to a task; name it, as in --task inpaint --mask mask.png.")
            return None
        from onefield.training.tasks import task_named

        return task_named(self.task, options)


NO_TASK = TaskOptions()
