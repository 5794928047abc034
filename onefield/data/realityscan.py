"""RealityScan's (RealityCapture's) "Internal/External camera parameters": a CSV file beside or above the images.

Its columns are ``#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2`` (newer versions say yaw, f_35mm, px_norm
and py_norm); those from px on may be missing. Angles are degrees: at 0 the camera looks straight down with its top to
the north (y), heading turns clockwise seen from above, pitch lifts the view, roll turns about the image's vertical.
``f`` is the focal length for a frame of 36 mm along the longer side; ``px`` and ``py`` lead from the middle to the
principal point in shares of that side. Distortion is Brown's polynomial with four radial coefficients, its tangential
ones in the other order than OpenCV's. The division model can't be told from this file: choose a Brown model there.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import is_file, is_folder
from onefield.data.images import read_header
from onefield.data.named_images import NamedImages, named_images
from onefield.errors import DataError

_SUFFIX = ".csv"
_OTHER_NAMES = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py"}
_NEEDED = ("x", "y", "alt", "heading", "pitch", "roll", "f")
_OPTIONAL = ("px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
_FRAME_WIDTH = 36.0  # millimetres, for which f is stated
_LARGEST_FILE = 64 << 20
# The header is among the first lines; a line "#cameras <count>" may stand before it.
_HEAD = 4096


def _table(path: Path) -> Path | None:
    """The CSV file itself, or the first of a folder with the columns of this format."""
    if path.suffix.lower() == _SUFFIX and is_file(path):
        return path if _has_columns(path) else None
    if not is_folder(path):
        return None
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == _SUFFIX and is_file(file))
    return next((file for file in files if _has_columns(file)), None)


def _has_columns(file: Path) -> bool:
    try:
        with open(file, "rb") as content:
            head = content.read(_HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return False
    return any(_columns(line.split(",")) is not None for line in head.splitlines()[:2])


def _columns(cells: list[str]) -> list[str] | None:
    """The columns' names, or None for a line that is no header."""
    if not cells or cells[0].strip().lower() != "#name":
        return None
    names = [cell.strip().lower() for cell in cells]
    names = ["name", *(_OTHER_NAMES.get(name, name) for name in names[1:])]
    return names if set(_NEEDED) <= set(names) else None


def _recognises(path: Path) -> bool:
    return _table(path) is not None


def _read(path: Path) -> Capture:
    table = _table(path)
    if table is None:
        raise DataError(f"{path} has no table of camera parameters; export it again.")
    images = named_images(table.parent)
    columns: list[str] | None = None
    views = []
    for number, cells in enumerate(_rows(table), start=1):
        said_by = f"{table}, line {number}"
        if columns is None:
            columns = _columns(cells)
        elif cells:
            views.append(_view(dict(_cells(columns, cells, said_by)), images, said_by))
    return Capture(views, "realityscan")


def _rows(table: Path) -> list[list[str]]:
    try:
        if table.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{table} has more than {_LARGEST_FILE:,} bytes; it is no table of cameras.")
        text = table.read_bytes().decode("utf-8-sig")
        return list(csv.reader(text.splitlines(), strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{table} can't be read ({error}); export it again.") from error


def _cells(columns: list[str], cells: list[str], said_by: str) -> list[tuple[str, str]]:
    if len(cells) != len(columns):
        raise DataError(
            f"{said_by} has {len(cells)} columns rather than {len(columns)}; the file is truncated or damaged: export "
            "it again."
        )
    return list(zip(columns, cells, strict=True))


def _view(cells: dict[str, str], images: NamedImages, said_by: str) -> View:
    numbers = {name: _number(cells[name], name, said_by) for name in _NEEDED}
    numbers |= {name: _number(cells.get(name, "0"), name, said_by) for name in _OPTIONAL}
    named = cells["name"].strip()
    if not named:
        raise DataError(f"{said_by} names no image; export the file again.")
    image = images.find(named, said_by)
    # Without its picture a view is left out later, whatever its size.
    header = read_header(image) if is_file(image) else None
    width, height = (1, 1) if header is None else (header.width, header.height)
    longer = max(width, height)
    focal = numbers["f"] / _FRAME_WIDTH * longer
    return View(
        name=named,
        image_path=image,
        camera_to_world=_camera_to_world(numbers),
        focal=(focal, focal),
        center=(width / 2 + numbers["px"] * longer, height / 2 + numbers["py"] * longer),
        size=(width, height),
        distortion=(numbers["k1"], numbers["k2"], numbers["t2"], numbers["t1"], numbers["k3"], 0.0, 0.0, 0.0),
        radial8=numbers["k4"],
    )


def _number(text: str, column: str, said_by: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(f"{said_by}: '{column}' is {text[:40]!r}; it must be a finite number.")
    return value


def _camera_to_world(numbers: dict[str, float]) -> np.ndarray:
    sines, cosines = {}, {}
    for name in ("heading", "pitch", "roll"):
        angle = np.deg2rad(numbers[name] % 360)
        sines[name], cosines[name] = np.sin(angle), np.cos(angle)
    s, c = sines["heading"], cosines["heading"]
    clockwise = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    s, c = sines["pitch"], cosines["pitch"]
    lifted = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    s, c = sines["roll"], cosines["roll"]
    rolled = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    # looking down with the top to the north: right is east, the image's down is south
    down = np.diag([1.0, -1.0, -1.0])
    position = np.array([[numbers["x"]], [numbers["y"]], [numbers["alt"]]])
    return np.concatenate([clockwise @ lifted @ rolled @ down, position], axis=1)


REALITYSCAN = SceneFormat(
    "realityscan", "a .csv of camera parameters with images/ (RealityScan, RealityCapture)", _recognises, _read
)
