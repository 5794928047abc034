"""Images that a camera file names without saying in which folder they lie."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from onefield.data.dataset_paths import IMAGE_SUFFIXES, find_image_folder, images_in, inside
from onefield.errors import DataError

_FOLDERS = ("images", "image", "photos", "input", "undistorted")


@dataclass(frozen=True)
class NamedImages:
    """The images of a dataset by their names.

    Attributes:
        root: the dataset's folder.
        folder: where the images lie, directly or in folders below.
        by_name: files by lower-case name.
        by_stem: files by lower-case name without suffix.
    """

    root: Path
    folder: Path
    by_name: dict[str, list[Path]]
    by_stem: dict[str, list[Path]]

    def find(self, named: str, said_by: str) -> Path:
        """The resolved file of an image that is named with or without a suffix and folders; it may not exist.

        Raises:
            DataError: several files have the name, or the name leaves the dataset.
        """
        name = named.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
        # A name without suffix may hold dots, and one with a suffix may be stored in another format.
        candidates = self.by_name.get(name) or self.by_stem.get(name) or self.by_stem.get(name.rsplit(".", 1)[0])
        if not candidates:
            relative = self.folder.relative_to(self.root) / (name if "." in name else f"{name}.jpg")
            return inside(self.root, str(relative), said_by)
        if len(candidates) > 1:
            listed = " and ".join(str(file.relative_to(self.root)) for file in candidates[:2])
            raise DataError(f"{said_by} names '{named}', which {listed} both could be; keep one of them.")
        return inside(self.root, str(candidates[0].relative_to(self.root)), said_by)


def named_images(root: Path) -> NamedImages:
    """The images in the dataset's usual folder for them, else beside the camera file, else anywhere below."""
    folder = find_image_folder(root, _FOLDERS)
    if folder is not None or not (files := images_in(root)):
        folder = folder or root
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_name[file.name.lower()].append(file)
        by_stem[file.stem.lower()].append(file)
    return NamedImages(root, folder, dict(by_name), dict(by_stem))
