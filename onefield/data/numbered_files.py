"""Files that are told apart by a number in their names, and text files of rows of numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from onefield.data.dataset_paths import inside, is_file, is_folder
from onefield.errors import DataError

# A trajectory of 100,000 poses has about 20 MB.
_LARGEST_FILE = 128 << 20


def files_by_number(root: Path, folder: str, suffixes: tuple[str, ...], prefix: str = "") -> dict[int, Path]:
    """Resolved files ``PREFIX<number>.SUFFIX`` of a folder in the order of their numbers; others are passed over.

    Args:
        root: the dataset's folder, which no file may leave.
        folder: relative to it; one that isn't there holds no files.
        suffixes: lower case, with their dots.
        prefix: of the files' names.

    Raises:
        DataError: two files of one number, or a link out of the dataset.
    """
    pattern = re.compile(re.escape(prefix) + r"(\d{1,9})")
    found: dict[int, Path] = {}
    for file in sorted((root / folder).iterdir()) if is_folder(root / folder) else ():
        match = pattern.fullmatch(file.stem)
        if match is None or file.suffix.lower() not in suffixes or not is_file(file):
            continue
        number = int(match.group(1))
        if number in found:
            raise DataError(f"{root / folder} has both {found[number].name} and {file.name}; keep one of them.")
        found[number] = inside(root, f"{folder}/{file.name}", str(root))
    return dict(sorted(found.items()))


def read_number_rows(path: Path) -> Float[np.ndarray, "rows columns"]:
    """A text file's numbers, one row a line; infinity and NaN are numbers here, empty lines are not.

    Raises:
        DataError: unreadable, empty, with a word that is no number, or with lines of different lengths.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{path} has more than {_LARGEST_FILE:,} bytes; it is no table of cameras.")
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text (byte {error.start}); extract it again.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); extract it again.") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {str(error)[:80]}; write a number there.") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{path}, line {number} has {len(rows[-1])} numbers, but those before have {len(rows[0])}; the file is "
                "truncated or damaged: write it again."
            )
    if not rows:
        raise DataError(f"{path} holds no numbers; write it again.")
    return np.array(rows, dtype=np.float64)


def read_matrix(path: Path, shapes: tuple[tuple[int, int], ...] = ((4, 4),)) -> Float[np.ndarray, "rows columns"]:
    """A text file's matrix, which may hold infinity or NaN.

    Raises:
        DataError: as `read_number_rows`, or another shape.
    """
    matrix = read_number_rows(path)
    if matrix.shape not in shapes:
        wanted = " or ".join(f"{rows} x {columns}" for rows, columns in shapes)
        raise DataError(
            f"{path} holds {matrix.shape[0]} x {matrix.shape[1]} numbers rather than {wanted}; write it again."
        )
    return matrix
