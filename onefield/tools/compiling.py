"""A word about the pause when kernels are compiled for the first time."""

from __future__ import annotations

from onefield.kernels.system import compiled_kernels_cached
from onefield.tools.output import say


def announce_compilation() -> None:
    """Says that the first steps compile kernels, on a machine that has not done so yet."""
    if not compiled_kernels_cached():
        say("compiling kernels for this processor: up to a minute, once")
