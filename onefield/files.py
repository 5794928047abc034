"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from onefield.errors import ResourceError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_PERMISSION = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_PARENT = frozenset({errno.ENOENT, errno.ENOTDIR})


def write_atomically(path: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a whole file beside its destination, flushes it to the disk and renames it into place.

    Whatever interrupts the call, ``path`` holds either its former content or all of the new one.

    Args:
        path: destination; its folder must exist.
        content: the bytes, or a function that writes them into the binary file that it is given.

    Raises:
        ResourceError: no space, no permission, or no such folder.
    """
    path = Path(path)
    write = content if callable(content) else lambda file: file.write(content)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with explain_write_errors(path, partial):
            with open(partial, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Makes a folder and its parents where they are missing, and returns it.

    Raises:
        ResourceError: it can't be made, or can't be written into.
    """
    path = Path(path)
    with explain_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise ResourceError(
            f"{path} can't be written into (no permission, or a read-only disk); choose another folder."
        )
    return path


def require_place(folder: str | os.PathLike[str]) -> Path:
    """Makes sure, before long work is begun, that a folder for its results can be made; leaves nothing behind.

    Returns:
        The folder.

    Raises:
        ResourceError: as `make_folder`.
    """
    folder = Path(folder)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        make_folder(folder)
    finally:
        for each in missing:
            with suppress(OSError):  # not made, or used by another program meanwhile
                each.rmdir()
    return folder


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Makes renames inside a folder survive a power cut, on systems where folders can be flushed."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems refuse to flush folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def explain_write_errors(path: str | os.PathLike[str], partial: Path | None = None) -> Iterator[None]:
    """Turns what the operating system says about writing ``path`` into a `ResourceError` with a cure.

    Args:
        path: what is being written, as the user knows it.
        partial: the file that really grows; its size so far is told when the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise ResourceError(_explain(Path(path), error, partial)) from error


def _explain(path: Path, error: OSError, partial: Path | None) -> str:
    if error.errno in _NO_SPACE:
        written = f" ({partial.stat().st_size:,} bytes were written)" if partial and partial.exists() else ""
        return f"The disk is full or the file too large for it while writing {path}{written}; free space there."
    if error.errno in _NO_PERMISSION:
        return f"{path} can't be written (no permission, or a read-only disk); choose another folder."
    file = next((parent for parent in path.parents if parent.is_file()), None)
    if file is not None:
        return f"{path} can't be written, because {file} is a file, no folder; choose another place."
    if error.errno in _NO_PARENT and not path.parent.is_dir():
        return f"{path} can't be written, because its folder {path.parent} does not exist; make it first."
    if isinstance(error, FileExistsError | IsADirectoryError):
        return f"{path} can't be written, because a file or folder of that name is in the way; choose another name."
    return f"{path} can't be written: {error.strerror or error}; choose another place."
