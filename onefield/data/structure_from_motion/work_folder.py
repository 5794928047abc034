"""The folder in which a scene is made: found again after an interruption, made anew for other photos, used by one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onefield.errors import DataError, ResourceError
from onefield.files import explain_write_errors, make_folder, write_atomically

_STATE = "state.json"
_LOCK = "lock"


def work_folder_of(output: Path) -> Path:
    """Where the scene of this name is made."""
    return output.with_name(f".{output.name}.processing")


@contextmanager
def locked_work_folder(output: Path, fingerprint: str, note: Callable[[str], None]) -> Iterator[Path]:
    """The folder while work goes on in it; removed when that ends well or when the photos give no scene.

    Args:
        output: the scene's final folder.
        fingerprint: of photos and options; a folder left behind by others is cleared.
        note: told when earlier work is taken up again or dropped.

    Raises:
        ResourceError: another process works there, or the disk can't be written.
    """
    work = make_folder(work_folder_of(output))
    with _locked(work):
        found = _state(work)
        if found == fingerprint:
            note(f"going on with what was interrupted in {work}")
        else:
            if found is not None:
                note("photos or options have changed since the work was interrupted; beginning anew")
            _clear(work)
            write_atomically(work / _STATE, json.dumps({"fingerprint": fingerprint}).encode())
        try:
            yield work
        except DataError:
            # the same photos would give the same result; a log that the message names stays
            if not (work / "job.json").is_file() or (work / "result.json").is_file():
                shutil.rmtree(work, ignore_errors=True)
            raise
    shutil.rmtree(work, ignore_errors=True)


def _state(work: Path) -> str | None:
    try:
        return str(json.loads((work / _STATE).read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _clear(work: Path) -> None:
    with explain_write_errors(work):
        for path in work.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """The system releases the lock when the process ends, however it ends."""
    with explain_write_errors(work / _LOCK):
        file = open(work / _LOCK, "a+b")  # noqa: SIM115 (closed below)
    try:
        if not _take(file.fileno()):
            raise ResourceError(f"Another process works in {work}; wait for it, or choose another --output.")
        yield
    finally:
        file.close()


def _take(descriptor: int) -> bool:
    if os.name != "posix":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
