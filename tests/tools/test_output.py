"""Durations as typed and as shown, and results for machines."""

from __future__ import annotations

import json

import pytest

from onefield.errors import UsageError
from onefield.tools.output import seconds_of, show


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2M", 120)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0", "nan", "inf", "m"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="10m"):
        seconds_of(text)


def test_results_for_machines_are_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    show({"psnr": float("nan"), "views": [1, float("inf")]}, True, ["unused"])
    assert json.loads(capsys.readouterr().out) == {"psnr": None, "views": [1, None]}
