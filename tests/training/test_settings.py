"""Budgets and schedules."""

from __future__ import annotations

import pytest

from onefield.errors import UsageError
from onefield.training.settings import TrainingSettings


def test_progress_counts_steps_or_seconds() -> None:
    assert TrainingSettings(steps=200).progress(50, 1e9) == 0.25
    assert TrainingSettings(steps=200, seconds=10.0).progress(10**9, 2.5) == 0.25
    assert TrainingSettings(steps=200).progress(500, 0.0) == 1.0


def test_rates_rise_stay_and_fall() -> None:
    settings = TrainingSettings(warmup=0.1, decay_start=0.5, final_rate=0.01)
    assert settings.rate_factor(0.05) == pytest.approx(0.5)
    assert settings.rate_factor(0.3) == 1.0
    assert settings.rate_factor(0.75) == pytest.approx(0.1)
    assert settings.rate_factor(1.0) == pytest.approx(0.01)


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(UsageError, match=r"training\.steps must be positive, got 0"):
        TrainingSettings(steps=0)
    with pytest.raises(UsageError, match=r"training\.seconds"):
        TrainingSettings(seconds=float("nan"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("final_rate", -1.0), ("warmup", float("nan")), ("decay_start", 2.0), ("beta2", 1.0), ("validate_every", -1)],
)
def test_impossible_schedules_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"training\.{name} must lie between 0 and .*, got {value}"):
        TrainingSettings(**{name: value})
