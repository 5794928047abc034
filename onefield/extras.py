"""Libraries of the extras: imported where they are needed, with words where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from onefield.errors import ResourceError, first_line


def extra_library(module: str, extra: str, user: str, instead: str = "") -> ModuleType:
    """A library that comes with one of Onefield's extras.

    Args:
        module: its name.
        extra: as in ``pip install "onefield[extra]"``.
        user: what needs it, a singular that begins the sentence.
        instead: what else to do, to end it.

    Raises:
        ResourceError: it is not installed, or can't be loaded.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        state = "is not installed"
        if not isinstance(error, ModuleNotFoundError):
            state = f"can't be loaded ({first_line(error)})"
        raise ResourceError(
            f"{user} needs the library {module}, which {state}; run 'pip install \"onefield[{extra}]\"'{instead}."
        ) from error
