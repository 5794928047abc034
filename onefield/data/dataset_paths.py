"""Paths that a dataset names, kept inside the dataset's folder."""

from __future__ import annotations

import os
from pathlib import Path

from onefield.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".exr", ".hdr")


def inside(folder: Path, named: str, said_by: str) -> Path:
    """The file that a dataset names, with links resolved.

    Args:
        folder: the dataset's folder.
        named: relative path, with either kind of slash.
        said_by: where the name stands, for messages.

    Raises:
        DataError: the path leaves the folder, or can't be a path.
    """
    named = named.replace("\\", "/")
    root = Path(os.path.realpath(folder))
    try:
        path = Path(os.path.realpath(root / named))
    except (ValueError, OSError) as error:
        raise DataError(f"{said_by} names {named!r}, which can't be a path: {error}.") from error
    if not path.is_relative_to(root):
        raise DataError(
            f"{said_by} names {named!r}, which leaves the dataset's folder {folder}; move the file into the folder."
        )
    return path


def is_file(path: Path) -> bool:
    """True for an existing file; a name too long or otherwise impossible is no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """True for an existing folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def images_in(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name; empty where there is no such folder."""
    if not is_folder(folder):
        return []
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and is_file(path)]
    return sorted(found, key=lambda path: path.name)


def find_image_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the named folders that holds an image, directly or in folders below."""
    for name in names:
        folder = root / name
        if is_folder(folder) and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*")):
            return folder
    return None
