"""What people read when the reconstructing process ends badly."""

from __future__ import annotations

import pytest

from onefield.data.structure_from_motion import runner
from onefield.data.structure_from_motion.runner import run_worker
from onefield.errors import DataError, ResourceError

# How a library that is written in C++ ends: the reason, then a trace of where.
ENDING = """
import os, sys
sys.stderr.write("I2026 incremental_pipeline.cc:88] Registering image #7\\n")
sys.stderr.write("terminate called after throwing an instance of 'std::runtime_error'\\n  what():  {reason}\\n")
sys.stderr.write("*** Aborted at 17952 ***\\nPC: @     0x7f0a\\n    @     0x7f0a colmap::Thread::RunFunc()\\n")
sys.stderr.flush()
os.{end}
"""


@pytest.fixture
def ending(tmp_path, monkeypatch):
    """Makes the reconstructing process end in a way."""

    def prepare(reason, end="abort()"):
        (tmp_path / "ending.py").write_text(ENDING.format(reason=reason, end=end))
        monkeypatch.setattr(runner, "_WORKER", "ending")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return lambda: run_worker(tmp_path, lambda phase: None, lambda text: None)

    return prepare


@pytest.mark.parametrize(
    "reason",
    [
        "SQLite error: database or disk is full",
        "[database_sqlite.cc:1737] SQLite error: disk I/O error",
        "OSError: [Errno 28] No space left on device",
    ],
)
def test_a_full_disk_is_said_with_its_cure(ending, reason):
    with pytest.raises(ResourceError, match=r"disk is full.*free space there and run the same again"):
        ending(reason)()


def test_a_full_disk_of_an_earlier_run_is_not_this_ones(ending):
    with pytest.raises(ResourceError):
        ending("SQLite error: database or disk is full")()
    with pytest.raises(DataError, match=r"stopped \(vector too long\)"):
        ending("vector too long")()


def test_the_reason_is_told_rather_than_the_stack_trace(ending, tmp_path):
    with pytest.raises(DataError, match=r"stopped \(no cameras\); its log is") as error:
        ending("no cameras")()
    assert str(tmp_path / "log.txt") in str(error.value)


def test_a_process_that_was_killed_ran_out_of_memory(ending):
    with pytest.raises(ResourceError, match=r"memory ran out.*fewer or smaller photos"):
        ending("", "kill(os.getpid(), 9)")()
