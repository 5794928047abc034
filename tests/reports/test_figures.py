"""Figures as people read them."""

import math

import pytest

from onefield.reports.figures import duration, gigabytes, score_name, score_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3s"), (59.6, "1m 00s"), (200, "3m 20s"), (7260, "2h 01m"), (float("inf"), "?")]
)
def test_durations_are_shown(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("psnr", 26.5519, "26.55"),
        ("ssim", 0.89685, "0.8969"),
        ("ms_ssim", None, "-"),
        ("psnr", math.inf, "-"),
        ("views", 200, "200"),
        ("other_score", 0.123456, "0.1235"),
        ("background", "white", "white"),
        ("fitted", True, "True"),
    ],
)
def test_scores_have_their_decimals(key, value, text):
    assert score_text(key, value) == text


def test_scores_have_names():
    assert score_name("ms_ssim") == "MS-SSIM"
    assert score_name("other_score") == "other score"


def test_memory_is_in_binary_units():
    assert gigabytes(3 * 2**29) == "1.5 GiB"
