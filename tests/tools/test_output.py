"""Durations as typed and as shown, and results for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onefield.errors import UsageError
from onefield.tools.output import count_of, seconds_of, show, written_lines


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


@pytest.mark.parametrize(
    ("text", "count"), [("50000", 50_000), ("100k", 100_000), ("0.5M", 500_000), ("0", 0), ("1e3", 1000)]
)
def test_numbers_of_things_are_read(text: str, count: int) -> None:
    assert count_of(text) == count


@pytest.mark.parametrize("text", ["", "many", "-1", "nan", "inf", "k", "3x"])
def test_what_is_no_number_of_things_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="100k"):
        count_of(text)


def test_frames_of_a_video_are_told_in_one_line():
    frames = [Path("fit/reconstruction") / f"{number:04d}.png" for number in range(9)]
    told = written_lines([Path("fit/field.safetensors"), *frames])
    assert told == ["wrote fit/field.safetensors", "wrote fit/reconstruction/ (9 files)"]
