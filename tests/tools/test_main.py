"""The command line's door."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onefield.tools.main import gathered, main
from onefield.tools.output import say


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


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_unless_the_user_says_otherwise(monkeypatch, capsys, given, kept) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        # set first, so that what the command sets is taken back
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    assert main(["doctor", "--help"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == kept
    # for a moment only, where the user says nothing
    assert ("GOMP_SPINCOUNT" in os.environ) == (given is None)


def test_help_calls_arguments_by_what_they_are(capsys) -> None:
    assert main(["process", "--help"]) == 0
    said = capsys.readouterr().out
    assert "PHOTOS" in said
    assert "None}" not in said


def test_what_a_resumed_run_would_not_heed_is_refused(tmp_path, capsys) -> None:
    options = ["--method", "ngp", "--set", "field.levels=2", "--refine-poses"]
    assert main(["train", str(tmp_path), "--resume", *options]) == 2
    assert "leave out --method, --set, --refine-poses" in capsys.readouterr().err


def test_a_misspelt_method_is_said_before_photos_are_placed(tmp_path, capsys) -> None:
    (tmp_path / "photo.png").write_bytes(b"never read")
    assert main(["train", str(tmp_path), "--method", "ngq"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'ngp'" in said
    assert "finding them" not in said


def test_a_reader_that_leaves_early_is_no_error(monkeypatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "onefield.tools.main", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    with open(writer, "w", closefd=False) as unheard, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", unheard)
        say("training goes on")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    os.close(writer)
