"""Finding the photos of a folder, and what their files say of lens and time; duplicates and damaged ones are named."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onefield.data.dataset_paths import IMAGE_SUFFIXES, is_file, is_folder
from onefield.data.images import decode, read_header
from onefield.errors import DataError

HEIC_SUFFIXES = (".heic", ".heif")
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, *HEIC_SUFFIXES, *RAW_SUFFIXES)
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
FEWEST_PHOTOS = 3
_MASK_FOLDERS = frozenset({"mask", "masks"})
_MOST_THREADS = 8
# More names in one sentence would not be read.
_MOST_NAMED = 3
_EXIF_BLOCK = 0x8769
_MAKE, _MODEL, _TIME = 0x010F, 0x0110, 0x9003
_FOCAL, _FOCAL_35MM = 0x920A, 0xA405
# The diagonal of a 36 x 24 mm frame, which "35 mm equivalent" refers to (CIPA DCG-001).
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
# A copy that was stored again differs from its original by less than this share of the contrast of its thumbnail.
_SAME_PICTURE = 0.02
_THUMBNAIL = (48, 48)


@dataclass(frozen=True)
class Photo:
    """One usable photo.

    Attributes:
        path: the file.
        name: path relative to the folder, with forward slashes.
        size: width and height after the EXIF orientation was applied.
        focal: pixels of that size, from EXIF; None where it doesn't say.
        lens: photos with equal text share their intrinsics.
        time: EXIF's, sortable; empty where it doesn't say.
        digest: SHA-256 of the file.
    """

    path: Path
    name: str
    size: tuple[int, int]
    focal: float | None
    lens: str
    time: str
    digest: str


@dataclass(frozen=True)
class FoundPhotos:
    """The usable photos, in the order in which they were taken as far as known; a sentence about each kind left out."""

    photos: list[Photo]
    notes: list[str]


def is_photos_or_video(path: Path) -> bool:
    """A cheap look: a video file, or a folder with pictures in it or below."""
    if is_file(path):
        return path.suffix.lower() in VIDEO_SUFFIXES
    return is_folder(path) and any(_photo_files(path))


def find_photos(folder: Path, named: frozenset[Path] | None = None) -> FoundPhotos:
    """All photos in a folder and below, without hidden files, masks, damaged files and duplicates.

    Args:
        named: resolved paths of the only files to take; None takes all.

    Raises:
        DataError: no photos; fewer than three different ones; HEIC or RAW files whose reader is not installed.
    """
    if not is_folder(folder):
        raise DataError(f"{folder} is no folder of photos and no video; give one of them.")
    files = sorted(_photo_files(folder), key=lambda path: natural_key(path.relative_to(folder).as_posix()))
    if named is not None:
        files = [path for path in files if path.resolve() in named]
    if not files:
        raise DataError(f"{folder} has no photos; looked for {', '.join(PHOTO_SUFFIXES)}.")
    _check_readers(files)
    notes: list[str] = []
    with ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        looks = list(pool.map(lambda path: _look(path, folder), files))
    damaged = [look for look in looks if isinstance(look, str)]
    if damaged:
        notes.append(
            f"{len(damaged)} of {len(files)} photos can't be read and are left out: {' '.join(damaged[:_MOST_NAMED])}"
        )
    sound = [look for look in looks if not isinstance(look, str)]
    photos = _without_duplicates(sound, notes)
    if len(photos) < FEWEST_PHOTOS:
        raise DataError(_too_few(folder, len(files), len(damaged), len(sound), len(photos), damaged))
    if all(photo.time for photo in photos):
        photos.sort(key=lambda photo: photo.time)
    return FoundPhotos(photos, notes)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]


def read_pixels(path: Path) -> np.ndarray:
    """A photo's pixels, upright, uint8, RGB or RGBA; HEIC and RAW through their optional readers.

    Raises:
        DataError: it can't be read.
    """
    suffix = path.suffix.lower()
    if suffix not in HEIC_SUFFIXES + RAW_SUFFIXES:
        return decode(path)
    try:
        return _read_heic(path) if suffix in HEIC_SUFFIXES else _read_raw(path)
    except Exception as error:  # the readers raise kinds of their own
        raise DataError(f"{path} is truncated or damaged ({error}); replace or remove it.") from error


def _read_heic(path: Path) -> np.ndarray:
    import pi_heif

    # the library applies the file's own rotation
    return np.asarray(pi_heif.open_heif(path, convert_hdr_to_8bit=True).to_pillow().convert("RGB"))


def _read_raw(path: Path) -> np.ndarray:
    import rawpy

    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(use_camera_wb=True)


def _photo_files(folder: Path):
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        masks = any(part.lower() in _MASK_FOLDERS for part in parts[:-1])
        if path.suffix.lower() in PHOTO_SUFFIXES and not hidden and not masks and is_file(path):
            yield path


def _check_readers(files: list[Path]) -> None:
    for suffixes, module, kind in ((HEIC_SUFFIXES, "pi_heif", "HEIC"), (RAW_SUFFIXES, "rawpy", "raw")):
        wanted = [path for path in files if path.suffix.lower() in suffixes]
        if wanted and importlib.util.find_spec(module) is None:
            raise DataError(
                f"{wanted[0].name} and {len(wanted) - 1} more are {kind} files, whose reader is not installed; install "
                'it with: pip install "onefield[photos]", or store the photos as JPEG.'
            )


def _look(path: Path, folder: Path) -> tuple[Photo, np.ndarray] | str:
    """The photo and its thumbnail, or why it can't be used."""
    try:
        pixels = read_pixels(path)
        exif = _exif(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (DataError, OSError) as error:
        return str(error)
    height, width = pixels.shape[:2]
    focal = _focal(exif, width, height)
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL, _FOCAL, _FOCAL_35MM))
    name = path.relative_to(folder).as_posix()
    photo = Photo(path, name, (width, height), focal, f"{width}x{height} {camera}", str(exif.get(_TIME, "")), digest)
    grey = Image.fromarray(pixels[..., :3]).convert("L").resize(_THUMBNAIL, Image.Resampling.BOX)
    return photo, np.asarray(grey, dtype=np.float32)


def _exif(path: Path) -> dict[int, object]:
    """EXIF's entries of the picture and of its exposure in one table; empty where there are none."""
    try:
        if path.suffix.lower() in HEIC_SUFFIXES:
            import pi_heif

            exif = pi_heif.open_heif(path).to_pillow().getexif()
        elif path.suffix.lower() in RAW_SUFFIXES:
            return {}
        else:
            read_header(path)
            with Image.open(path) as image:
                exif = image.getexif()
        return {**dict(exif), **exif.get_ifd(_EXIF_BLOCK)}
    except Exception:  # a broken EXIF block doesn't make the picture unusable
        return {}


def _focal(exif: dict[int, object], width: int, height: int) -> float | None:
    try:
        equivalent = float(exif.get(_FOCAL_35MM, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 1 <= equivalent <= 2000:  # 0 says "unknown"
        return None
    return equivalent / _DIAGONAL_35MM * math.hypot(width, height)


def _without_duplicates(looks: list[tuple[Photo, np.ndarray]], notes: list[str]) -> list[Photo]:
    kept: list[Photo] = []
    thumbnails = np.zeros((len(looks), *_THUMBNAIL), dtype=np.float32)
    doubles = []
    for photo, thumbnail in looks:
        apart = np.abs(thumbnails[: len(kept)] - thumbnail).mean(axis=(1, 2))
        if (
            len(apart)
            and apart.min() <= _SAME_PICTURE * thumbnail.std()
            and kept[int(apart.argmin())].size == photo.size
        ):
            doubles.append(f"{photo.name} = {kept[int(apart.argmin())].name}")
            continue
        thumbnails[len(kept)] = thumbnail
        kept.append(photo)
    if doubles:
        notes.append(
            f"{len(doubles)} photos show the same as another and are left out: {', '.join(doubles[:_MOST_NAMED])}."
        )
    return kept


def _too_few(folder: Path, files: int, damaged: int, sound: int, different: int, why: list[str]) -> str:
    found = f"{folder} has {files} photo{'s' if files != 1 else ''}"
    if damaged and sound < FEWEST_PHOTOS:
        return f"{found}, of which {damaged} can't be read (first: {why[0].rstrip('.')}); {_more()}."
    if different == 1 and sound > 1:
        return f"{found}, all of the same picture; {_more()}."
    if different < sound:
        return f"{found}, but only {different} different ones; {_more()}."
    return f"{found}; {_more()}."


def _more() -> str:
    return f"take at least {FEWEST_PHOTOS}, better 20 or more, from different places around the scene"
