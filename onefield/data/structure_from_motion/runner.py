"""Starting the reconstructing process, listening to it, and ending it: the only place that knows it is one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onefield.data.structure_from_motion.job import RESULT, JobResult
from onefield.errors import DataError, OnefieldError, ResourceError, UsageError

INSTALL = 'pip install "onefield[sfm]"'
LOG = "log.txt"
_WORKER = "onefield.data.structure_from_motion.worker"
_GRACE_SECONDS = 5.0
# What SQLite, the operating system and our own writing say; the library passes on their words, or ends with them.
_DISK_WORDS = ("disk is full", "No space left", "File too large", "disk I/O")
# Lines of a stack trace that the library leaves behind: where it ended, not why.
_TRACE_MARKS = ("@ ", "*** ", "PC: ")
# What the runtime of C++ puts before the reason.
_REASON_MARK = "what():"
_LONGEST_REASON = 300
_KILLED = 9
_LEAST_FREE = 10_000_000


@dataclass(frozen=True)
class Phase:
    """Progress: the phase's name, steps done, and of how many."""

    name: str
    done: int
    total: int


def check_installed() -> None:
    """Says how to install what reconstruction needs.

    Raises:
        UsageError: pycolmap is not there.
    """
    if importlib.util.find_spec("pycolmap") is None:
        raise UsageError(f"Photos without poses need pycolmap, which is not installed; install it with: {INSTALL}")


def run_worker(work: Path, observe: Callable[[Phase], None], note: Callable[[str], None]) -> JobResult:
    """Runs the job that lies in a folder; an interrupted one goes on from its database.

    Args:
        observe: told of each step.
        note: told a sentence when something changes.

    Raises:
        ResourceError: disk or memory ran out.
        OnefieldError: the process failed otherwise.
    """
    (work / RESULT).unlink(missing_ok=True)
    home = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", _WORKER, str(work)]
    failure = ""
    with open(work / LOG, "ab") as log:
        logged_before = log.tell()
        # in a session of its own: Ctrl-C reaches this process alone, which ends the other
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            for line in process.stdout:
                event = _event(line)
                if event.get("event") == "progress":
                    observe(Phase(str(event["phase"]), int(event["done"]), int(event["total"])))
                elif event.get("event") == "note":
                    note(str(event["text"]))
                elif event.get("event") == "error":
                    failure = str(event["text"])
            code = process.wait()
        finally:
            _end(process)
    # the answer is written last and whole: what a library does while it is taken down doesn't matter
    if not (work / RESULT).is_file():
        raise _explained(work, code, failure, logged_before)
    return JobResult.read(work)


def _event(line: bytes) -> dict:
    try:
        event = json.loads(line)
    except ValueError:  # the library prints now and then
        return {}
    return event if isinstance(event, dict) else {}


def _end(process: subprocess.Popen) -> None:
    process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdout.close()


def _explained(work: Path, code: int, failure: str, logged_before: int) -> OnefieldError:
    log = (work / LOG).read_bytes()[logged_before:].decode(errors="replace")
    full = any(word in failure or word in log for word in _DISK_WORDS)
    if full or shutil.disk_usage(work).free < _LEAST_FREE:
        return ResourceError(
            f"The disk is full while processing in {work}; free space there and run the same again, which goes on from "
            "what is done."
        )
    if code == -_KILLED:
        return ResourceError(
            "The reconstruction was killed, most likely because memory ran out; close other programs or take fewer or "
            "smaller photos, and run the same again."
        )
    said = failure or _last_words(log) or f"exit code {code}"
    return DataError(
        f"The reconstruction stopped ({said[:_LONGEST_REASON]}); its log is {work / LOG}; run the same again to resume."
    )


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines()]
    told = [line for line in lines if line and not line.startswith(_TRACE_MARKS)]
    return told[-1].removeprefix(_REASON_MARK).strip() if told else ""
