"""Slices from files: contours as CSL, JSON or SVG, and stacks of pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from onefield.data.contours import Slice
from onefield.data.csl import read_csl
from onefield.data.dataset_paths import inside
from onefield.data.label_slices import PicturePlane, slices_of_pictures
from onefield.data.medical import is_dicom, is_nifti, read_dicom, read_nifti
from onefield.data.signal_files import PICTURE_SUFFIXES, read_picture
from onefield.data.slices import Slices
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.data.svg import read_svg
from onefield.errors import DataError

SLICES_SUFFIXES = (".csl", ".json", ".nii", ".nii.gz")
# In a folder: says where each of its pictures or drawings lies.
DESCRIPTION = "slices.json"
# The last number of a name; a minus counts where no letter or digit stands before it.
_HEIGHT = re.compile(r"(?:(?<![A-Za-z0-9.])-)?\d+(?:\.\d+)?(?!.*\d)")
# Right and up may be off the right angle by this much (cosine) before they are refused.
_SKEW = 1e-3
_MOST_CORNERS = 1_000_000


def holds_slices(path: Path) -> bool:
    """Whether a file or folder looks like slices; a cheap look."""
    if path.is_dir():
        return (path / DESCRIPTION).is_file() or any(
            each.suffix.lower() == ".svg" or is_dicom(each) for each in path.iterdir() if each.is_file()
        )
    return path.suffix.lower() in (".csl", ".json", ".svg") or is_nifti(path) or is_dicom(path)


def load_slices(path: str | Path) -> Slices:
    """Slices from a file or folder; see `onefield.data.slices.Slices` for what is checked.

    - ``.csl``; ``.nii`` and ``.nii.gz`` (across the axis of the widest spacing, in the file's own world);
    - ``.json``, or a folder with ``slices.json``: ``{"slices": [...], "pixel": ...}``. Each slice has a plane, either
      ``height`` (z; right is x and up is y) or ``origin``, ``right`` and ``up``, and on it either ``contours`` (a list
      of lists of ``[x, y]``, right and up from the origin) or ``file``, a picture or SVG beside the JSON file whose
      upper left corner lies at the origin. ``pixel`` is the size of a pixel or SVG unit: a number, or two for right and
      up; pictures need it, SVG has 1 without;
    - a folder of SVG files without ``slices.json``: the last number in each name is the height;
    - a folder of DICOM files, in the patient's millimetres.

    Raises:
        DataError: missing, empty, unreadable, or slices that don't go together.
        ResourceError: a library for scanners' files is missing.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a file or folder of slices.")
    if path.suffix.lower() == ".csl":
        return Slices.of(read_csl(path))
    if path.suffix.lower() == ".json":
        return _described(path)
    if is_nifti(path):
        return Slices.of(*slices_of_pictures(read_nifti(path)))
    raise DataError(f"{path} is one slice or no slices at all; name a .csl, .json or .nii file, or a folder of slices.")


def _folder(folder: Path) -> Slices:
    if (folder / DESCRIPTION).is_file():
        return _described(folder / DESCRIPTION)
    files = sorted(each for each in folder.iterdir() if each.is_file())
    drawings = [each for each in files if each.suffix.lower() == ".svg"]
    scans = [each for each in files if is_dicom(each)]
    if drawings and scans:
        raise DataError(f"{folder} has SVG and DICOM files; keep one kind.")
    if drawings:
        return Slices.of([_drawn(each, _height_in(each)) for each in drawings])
    if scans:
        return Slices.of(*slices_of_pictures(read_dicom(folder, scans)))
    raise DataError(
        f"{folder} has no slices; put SVG files with heights in their names there, DICOM files, or {DESCRIPTION}."
    )


def _height_in(path: Path) -> float:
    found = _HEIGHT.search(path.stem)
    if found is None:
        raise DataError(f"{path} has no number in its name; write its height there, such as slice_12.5.svg.")
    return float(found.group())


def _flat(height: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([0.0, 0.0, height]), np.eye(3)[:2]


def _drawn(path: Path, height: float) -> Slice:
    return Slice(str(path), *_flat(height), tuple(read_svg(path)))


def _described(path: Path) -> Slices:
    top = read_json_object(path)
    pixel = _pixel(top)
    cuts: list[Slice] = []
    pictures: list[PicturePlane] = []
    for entry in top.objects("slices"):
        origin, axes = _plane(entry)
        if "contours" in entry and "file" in entry:
            raise DataError(f"{entry.where} has both contours and a file; keep one of them.")
        if "contours" in entry:
            cuts.append(Slice(entry.where, origin, axes, _contours(entry)))
            continue
        if "file" not in entry:
            raise DataError(f"{entry.where} lacks 'contours' and 'file'; add one, or [] as contours of an empty plane.")
        file = inside(path.parent, entry.text("file"), entry.where)
        if file.suffix.lower() == ".svg":
            size = np.ones(2) if pixel is None else pixel
            cuts.append(Slice(str(file), origin, axes, tuple(polygon * size for polygon in read_svg(file))))
        else:
            pictures.append(_picture(file, origin, axes, pixel, path))
    drawn, note = slices_of_pictures(pictures) if pictures else ([], "")
    return Slices.of([*cuts, *drawn], note)


def _pixel(top: JsonObject) -> np.ndarray | None:
    if "pixel" not in top:
        return None
    size = top.array("pixel", ((), (2,))) * np.ones(2)
    if not (size > 0).all():
        raise DataError(f"{top.where}: 'pixel' is {size.tolist()}; it must be positive.")
    return size


def _plane(entry: JsonObject) -> tuple[np.ndarray, np.ndarray]:
    if "height" in entry:
        if any(key in entry for key in ("origin", "right", "up")):
            raise DataError(f"{entry.where} has a height and a pose; keep one of them.")
        return _flat(entry.number("height"))
    if not any(key in entry for key in ("origin", "right", "up")):
        raise DataError(f"{entry.where} lacks its plane; add 'height', or 'origin', 'right' and 'up'.")
    origin, right, up = (entry.array(key, ((3,),)) for key in ("origin", "right", "up"))
    lengths = np.linalg.norm(right), np.linalg.norm(up)
    if min(lengths) == 0 or abs(right @ up) > _SKEW * lengths[0] * lengths[1]:
        raise DataError(f"{entry.where}: 'right' and 'up' must be at right angles, got {right.tolist()} {up.tolist()}.")
    right = right / lengths[0]
    up = up - (up @ right) * right
    return origin, np.stack([right, up / np.linalg.norm(up)])


def _contours(entry: JsonObject) -> tuple[np.ndarray, ...]:
    listed = entry.values["contours"]
    if not isinstance(listed, list):
        raise DataError(f"{entry.where}: 'contours' must be a list of lists of [x, y].")
    polygons = []
    for number, corners in enumerate(listed, start=1):
        if not isinstance(corners, list) or len(corners) > _MOST_CORNERS:
            raise DataError(f"{entry.where}, contour {number} must be a list of [x, y].")
        named = JsonObject({"corners": corners}, f"{entry.where}, contour {number}")
        polygon = named.array("corners", ((len(corners), 2),))
        # a last corner that repeats the first says again that the contour is closed
        polygons.append(polygon[:-1] if len(polygon) > 1 and (polygon[0] == polygon[-1]).all() else polygon)
    return tuple(polygons)


def _picture(file: Path, origin: np.ndarray, axes: np.ndarray, pixel: np.ndarray | None, said_by: Path) -> PicturePlane:
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        raise DataError(f"{said_by} names {file.name}; a slice's file is an SVG drawing or a picture.")
    if not file.is_file():
        raise DataError(f"{said_by} names {file.name}, which does not exist.")
    if pixel is None:
        raise DataError(f"{said_by} lacks 'pixel'; add the size of a pixel in the unit of the heights.")
    values = read_picture(file)
    if values.ndim == 3:
        # alpha says nothing of labels
        colors = values[..., :-1] if values.shape[2] in (2, 4) else values
        if (colors != colors[..., :1]).any():
            raise DataError(f"{file} is coloured; a slice needs one channel, labels or intensities: make it grey.")
        values = colors[..., 0]
    steps = np.stack([axes[0] * pixel[0], -axes[1] * pixel[1]])
    return PicturePlane(str(file), values.astype(np.float64), origin + steps.sum(axis=0) / 2, steps)
