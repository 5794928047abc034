"""Libraries of the extras, and what is said where they are missing or broken."""

import json

import pytest

from onefield.errors import ResourceError
from onefield.extras import extra_library


def test_what_is_there_is_given():
    assert extra_library("json", "some", "A test") is json


def test_what_is_missing_or_broken_is_said(monkeypatch, tmp_path):
    with pytest.raises(ResourceError, match=r"^A test needs the library no_such, which is not installed; run '.*'\.$"):
        extra_library("no_such", "some", "A test")
    (tmp_path / "broken_one.py").write_text("raise ImportError('libGL is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ResourceError, match=r"can't be loaded \(libGL is missing\);.*\[some\]\"', or go without\.$"):
        extra_library("broken_one", "some", "A test", ", or go without")
