"""The common start of a dataset's fields, within the files of what was learned from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from onefield.training.fitted import Fitted, rebuilt

_START = "start."


def start_tensors(start: Fitted) -> dict[str, Tensor]:
    """All numbers of a start, by names that no model has; its `Fitted.facts` go into the file's facts as ``start``."""
    return {_START + name: tensor for name, tensor in start.field.state_dict().items()}


def stored_start(facts: Mapping, tensors: Mapping[str, Tensor], path: str | Path) -> Fitted:
    """The start of a file with these facts and tensors.

    Raises:
        DataError: facts that describe no field.
        RuntimeError: tensors of another field.
    """
    start = rebuilt(facts["start"], path)
    start.field.load_state_dict(named(tensors, _START))
    return start


def named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
