"""What makes a run's configuration from Python, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onefield.configs.runs import configure
from onefield.errors import UsageError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": "3"}, r"'training\.steps' must be of type int, got '3'"),
        # such a run could be trained, but never opened again
        ({"steps": 2.5}, r"'training\.steps' must be of type int, got 2\.5"),
        ({"seconds": np.array([1.0])}, r"'training\.seconds' must be of type float"),
        ({"seed": -1}, "A seed is a whole number"),
        ({"method": None}, "Unknown method 'None'"),
        ({"scene": {"path": "scene"}}, "path of its dataset, got a dict"),
    ],
)
def test_arguments_of_other_types_are_named(given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        configure(**{"scene": Path("scene"), "method": "ngp"} | given)


def test_budgets_take_turns() -> None:
    timed = configure("scene", "ngp", seconds=9).method.training
    assert timed.seconds == 9.0
    counted = configure("scene", "ngp", steps=7, changes=["training.seconds=9"]).method.training
    assert (counted.steps, counted.seconds) == (7, None)
