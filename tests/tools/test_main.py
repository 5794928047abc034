"""The command line's door."""

from __future__ import annotations

import pytest

from onefield.tools.main import gathered


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("scene --steps 3", "scene --steps 3"),
        ("scene --set a=1 b=2 --steps 3", "scene --steps 3 --set a=1 b=2"),
        ("scene --set a=1 --steps 3 --set b=2", "scene --steps 3 --set a=1 b=2"),
        ("scene --set=a=1 --set b=2 c=-3", "scene --set a=1 b=2 c=-3"),
        ("scene --set", "scene --set"),
    ],
)
def test_repeated_options_lose_no_value(given: str, expected: str) -> None:
    assert gathered(given.split(), "--set") == expected.split()
