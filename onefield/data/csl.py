"""Contours in CSL files: planes of any pose, each with its vertices and components."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onefield.data.contours import Slice
from onefield.errors import DataError

_LARGEST_FILE = 256 << 20
# How far vertices may lie off their plane, as a part of all vertices' diagonal: writers round to a few digits.
_OFF_PLANE = 1e-2
# No file has more digits of anything to count.
_MOST_DIGITS = 18
# A component's count, with the component that it is a hole of behind an h.
_COUNT = re.compile(rf"(\d{{1,{_MOST_DIGITS}}})(?:h\d+)?")
# One material and what is around it; more would share borders.
_MOST_LABELS = 2


def read_csl(path: Path) -> list[Slice]:
    """The planes of a file: ``CSLC``, planes and labels; per plane its number, vertices, components, a, b, c, d with
    ``a x + b y + c z + d = 0``, the vertices, and a line a component: corners, label, indices of vertices.

    Holes follow from the contours around them; labels say nothing more.

    Raises:
        DataError: unreadable, cut short, with words that are no numbers, indices beyond the vertices, vertices off
            their plane, or more than one material.
    """
    words = iter(_words(path))
    if next(words, "") != "CSLC":
        raise DataError(f"{path} does not begin with CSLC; it is no CSL file.")
    planes, labels = _integer(words, path, "planes"), _integer(words, path, "labels")
    if labels > _MOST_LABELS:
        raise DataError(
            f"{path} has {labels} labels, but one solid has two: inside and outside; write one material a file."
        )
    read = [_plane(words, f"{path}, plane {number}") for number in range(1, planes + 1)]
    if next(words, None) is not None:
        raise DataError(f"{path} goes on behind its {planes} planes; correct the number of planes.")
    diagonal = _diagonal([vertices for _, _, vertices, _ in read])
    return [_slice(*plane, diagonal) for plane in read]


def _words(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{path} has more than {_LARGEST_FILE:,} bytes; it is no file of contours.")
        return path.read_bytes().decode("ascii").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text (byte {error.start}); it is no CSL file.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}).") from error


def _word(words: Iterator[str], where: str, what: str) -> str:
    word = next(words, None)
    if word is None:
        raise DataError(f"{where} ends where {what} should follow; the file is cut short: write it again.")
    return word


def _integer(words: Iterator[str], where: object, what: str) -> int:
    word = _word(words, str(where), what)
    if not word.isdigit() or len(word) > _MOST_DIGITS:
        raise DataError(f"{where} has {word[:40]!r} where a number of {what} should stand; write it again.")
    return int(word)


def _floats(words: Iterator[str], count: int, where: str, what: str) -> np.ndarray:
    numbers = []
    for _ in range(count):
        word = _word(words, where, what)
        try:
            numbers.append(float(word))
        except ValueError as error:
            raise DataError(f"{where} has {word[:40]!r} among {what}; write a number there.") from error
    array = np.array(numbers)
    if not np.isfinite(array).all():
        raise DataError(f"{where} has a number that is not finite among {what}; correct it.")
    return array


def _plane(words: Iterator[str], where: str) -> tuple[str, np.ndarray, np.ndarray, list[np.ndarray]]:
    _integer(words, where, "plane")
    vertices, components = _integer(words, where, "vertices"), _integer(words, where, "components")
    equation = _floats(words, 4, where, "its equation")
    points = _floats(words, 3 * vertices, where, "its vertices").reshape(-1, 3)
    contours = []
    for number in range(1, components + 1):
        count = _COUNT.fullmatch(_word(words, where, f"component {number}"))
        if count is None:
            raise DataError(f"{where}, component {number} does not begin with a number of corners; write it again.")
        _word(words, where, "a label")
        indices = np.array([_integer(words, where, "vertex") for _ in range(int(count.group(1)))], dtype=np.int64)
        if len(indices) and indices.max() >= vertices:
            raise DataError(f"{where}, component {number} names vertex {indices.max()}, but there are {vertices}.")
        contours.append(points[indices])
    return where, equation, points, contours


def _diagonal(parts: list[np.ndarray]) -> float:
    points = np.concatenate([part for part in parts if len(part)] or [np.zeros((1, 3))])
    return float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))


def _slice(where: str, equation: np.ndarray, points: np.ndarray, contours: list[np.ndarray], diagonal: float) -> Slice:
    largest = np.abs(equation[:3]).max()
    if largest == 0:
        raise DataError(f"{where} has the normal 0 0 0; write the plane's equation again.")
    # so that no square is beyond measure
    equation = equation / largest
    length = np.linalg.norm(equation[:3])
    normal, offset = equation[:3] / length, equation[3] / length
    off = float(np.abs(points @ normal + offset).max(initial=0.0))
    if off > _OFF_PLANE * diagonal:
        raise DataError(
            f"{where} has a vertex {off:.4g} off its plane; a x + b y + c z + d must be 0 at its vertices (some "
            "writers turn the sign of d)."
        )
    axes = plane_axes(normal)
    origin = -offset * normal
    return Slice(where, origin, axes, tuple((contour - origin) @ axes.T for contour in contours))


def plane_axes(normal: np.ndarray) -> np.ndarray:
    """Right and up in a plane, with ``right x up`` its unit normal: right is the axis most nearly in the plane."""
    axis = np.eye(3)[np.abs(normal).argmin()]
    right = axis - (axis @ normal) * normal
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(normal, right)])
