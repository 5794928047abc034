"""What a folder of files is as a signal: slices of one solid, frames of one video, or many signals."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from onefield.data.points import TABLE_SUFFIXES
from onefield.data.signal_files import MESH_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from onefield.data.slice_files import holds_slices
from onefield.errors import DataError

_SUFFIXES = frozenset({*PICTURE_SUFFIXES, *VIDEO_SUFFIXES, *MESH_SUFFIXES, *TABLE_SUFFIXES, ".wav", ".npy", ".npz"})
_NUMBERED = re.compile(r"(.*?)(\d+)")


def signal_files(folder: str | Path) -> dict[str, Path]:
    """Files of signals in a folder and in the folders right in it, by their names from there on, in their order.

    Raises:
        DataError: there are none.
    """
    place = Path(folder)
    found = {}
    for path in sorted([*place.glob("*"), *place.glob("*/*")]):
        name = path.relative_to(place).as_posix()
        if path.is_file() and path.suffix.lower() in _SUFFIXES and not any(part[0] == "." for part in name.split("/")):
            found[name] = path
    if not found:
        raise DataError(f"{place} holds no signals; known are {', '.join(sorted(_SUFFIXES))}.")
    return found


def holds_many_signals(folder: str | Path) -> bool:
    """Whether a folder's files are signals of their own, by a cheap look.

    They are not where they are slices, or pictures alone, of one size, whose names count on: the frames of a video.

    Raises:
        DataError: there are no signals.
    """
    place = Path(folder)
    return not (holds_slices(place) or _are_frames(signal_files(place)))


def _are_frames(files: dict[str, Path]) -> bool:
    if any("/" in name or path.suffix.lower() not in PICTURE_SUFFIXES for name, path in files.items()):
        return False
    named = [_NUMBERED.fullmatch(path.stem) for path in files.values()]
    if not all(named) or len({match[1] for match in named}) > 1:
        return False
    numbers = sorted(int(match[2]) for match in named)
    steps = {b - a for a, b in pairwise(numbers)}
    return len(steps) <= 1 and 0 not in steps and len({_size(path) for path in files.values()}) == 1


def _size(path: Path) -> tuple[int, int] | None:
    """Of a picture, from its header; None where Pillow can't tell, which whoever reads the picture will say."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError):
        return None
