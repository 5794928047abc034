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
_DISK_WORDS = ("disk is full", "No space left", "disk I/O", "database or disk")
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
        raise _explained(work, code, failure)
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


def _explained(work: Path, code: int, failure: str) -> OnefieldError:
    full = any(word in failure for word in _DISK_WORDS) or shutil.disk_usage(work).free < _LEAST_FREE
    if full:
        return ResourceError(f"The disk is full while processing in {work}; free space there and run the same again.")
    if code == -_KILLED:
        return ResourceError(
            "The reconstruction was killed, most likely because memory ran out; close other programs or take fewer or "
            "smaller photos, and run the same again."
        )
    log = (work / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = failure or (log[-1] if log else f"exit code {code}")
    return DataError(
        f"The reconstruction stopped ({said[:300]}); its log is {work / LOG}; run the same again to resume."
    )
