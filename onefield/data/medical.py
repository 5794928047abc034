"""Stacks from scanners: DICOM series and NIfTI volumes (extra ``[medical]``)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from onefield.data.label_slices import PicturePlane
from onefield.errors import DataError, first_line
from onefield.extras import extra_library

# Spacings that differ by less than this part are the same, rounded differently.
_SAME_SPACING = 1e-3
# "DICM" stands behind 128 bytes that mean nothing.
_MAGIC_AT = 128


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its suffix or its first bytes."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    if path.suffix:
        return False
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + 4)[_MAGIC_AT:] == b"DICM"
    except OSError:
        return False


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its suffix."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_dicom(folder: Path, files: list[Path]) -> list[PicturePlane]:
    """A series of pictures with their positions, in the patient's millimetres as DICOM has them (left, back, up).

    Raises:
        DataError: no picture or place in a file, several series, or pixels of different sizes.
        ResourceError: pydicom is missing.
    """
    pydicom = extra_library("pydicom", "medical", str(folder))
    read = [(path, _dicom(pydicom, path)) for path in files]
    first_path, first = read[0]
    for path, record in read:
        series, expected = record.get("SeriesInstanceUID"), first.get("SeriesInstanceUID")
        if series != expected:
            raise DataError(f"{folder} has files of several series, as {first_path.name} and {path.name}; keep one.")
        spacing, wanted = _spacing(record, path), _spacing(first, first_path)
        if np.abs(spacing - wanted).max() > _SAME_SPACING * wanted.max():
            raise DataError(
                f"{path} has pixels of {spacing[0]:g} x {spacing[1]:g} mm, but {first_path.name} of {wanted[0]:g} x "
                f"{wanted[1]:g}: the stack's spacing is mixed; keep the files of one series."
            )
    return sorted(
        (_dicom_plane(path, record) for path, record in read),
        key=lambda plane: float(plane.corner @ np.cross(plane.steps[0], plane.steps[1])),
    )


def _dicom(pydicom: ModuleType, path: Path):
    try:
        return pydicom.dcmread(path)
    except Exception as error:  # the library raises several kinds on broken files
        raise DataError(f"{path} is no DICOM file that can be read ({first_line(error)}).") from error


def _numbers(record, key: str, count: int, path: Path) -> np.ndarray:
    try:
        numbers = np.array(record.get(key), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if len(numbers) != count:
        raise DataError(f"{path} lacks {key} ({count} numbers), so its place is unknown; export the series again.")
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: {key} holds a number that is not finite; export the series again.")
    return numbers


def _spacing(record, path: Path) -> np.ndarray:
    spacing = _numbers(record, "PixelSpacing", 2, path)
    if not (spacing > 0).all():
        raise DataError(f"{path}: PixelSpacing is {spacing[0]:g}, {spacing[1]:g}; it must be positive millimetres.")
    return spacing


def _dicom_plane(path: Path, record) -> PicturePlane:
    # PixelSpacing is that between rows first; the orientation's first three numbers run along a row
    between_rows, between_columns = _spacing(record, path)
    along_row, down = _numbers(record, "ImageOrientationPatient", 6, path).reshape(2, 3)
    corner = _numbers(record, "ImagePositionPatient", 3, path)
    try:
        pixels = np.asarray(record.pixel_array)
    except Exception as error:  # missing pixels, or a compression that needs another library
        raise DataError(f"{path}: its pixels can't be decoded ({first_line(error)}).") from error
    if pixels.ndim != 2:
        raise DataError(f"{path} holds pixels of shape {pixels.shape}; export one file a slice, of one channel.")
    # entries may be there and empty
    values = pixels * float(record.get("RescaleSlope") or 1) + float(record.get("RescaleIntercept") or 0)
    return PicturePlane(str(path), values, corner, np.stack([along_row * between_columns, down * between_rows]))


def read_nifti(path: Path) -> list[PicturePlane]:
    """The slices of a volume across the axis of the widest spacing, in the file's world (right, front, up).

    Raises:
        DataError: no volume of one channel that can be read, or a map to the world that is flat.
        ResourceError: nibabel is missing.
    """
    nibabel = extra_library("nibabel", "medical", str(path))
    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except Exception as error:  # the library raises several kinds on broken files
        raise DataError(f"{path} is no NIfTI file that can be read ({first_line(error)}).") from error
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path} holds colours or complex numbers ({values.dtype}); a solid needs one number a voxel.")
    values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    if values.ndim != 3:
        raise DataError(f"{path} holds values of shape {values.shape}; a solid needs one volume of three axes.")
    steps = affine[:3, :3].T
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(steps) < 3:
        raise DataError(f"{path}: its affine map to the world is not finite or flat; export it again.")
    # ties go to the last axis, along which slices are stored
    across = 2 - int(np.argmax(np.linalg.norm(steps, axis=1)[::-1]))
    along, down = (axis for axis in range(3) if axis != across)
    planes = []
    for index in range(values.shape[across]):
        picture = values.take(index, axis=across).T
        corner = affine[:3, 3] + index * steps[across]
        planes.append(PicturePlane(f"{path}, slice {index}", picture, corner, steps[[along, down]]))
    return planes
