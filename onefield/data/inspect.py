"""What a dataset is and whether it is sound; changes nothing."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from onefield.data.dataset_paths import IMAGE_SUFFIXES, is_folder
from onefield.data.formats import load_scene, recognise
from onefield.data.images import decode, read_header
from onefield.data.scene import Scene
from onefield.errors import DataError

_MOST_THREADS = 8
# More would hide the rest of a report.
_MOST_SIZES = 3


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset in a few words.

    Attributes:
        path: folder or file.
        format: as `Scene`, or ``"photos"`` for images without poses.
        images, train, test: counts.
        sizes: ``"width x height"`` and how often, most frequent first.
        cameras: such as ``"pinhole"``, ``"Brown-Conrady"``, ``"fisheye"``, with counts.
        masks, depths, normals, points: counts; ``mask_use`` is ``"ignore"`` or ``"alpha"`` where there are masks.
        bounded, extent_scale: as `Scene`.
        scale: normalised units for one unit of the dataset.
        decoded_bytes: memory for all decoded pictures.
        problems: one sentence each; empty for a sound dataset.
    """

    path: str
    format: str
    images: int
    sizes: dict[str, int]
    decoded_bytes: int
    problems: tuple[str, ...]
    train: int = 0
    test: int = 0
    cameras: dict[str, int] | None = None
    masks: int = 0
    mask_use: str | None = None
    depths: int = 0
    normals: int = 0
    points: int = 0
    alpha: bool = False
    bounded: bool | None = None
    extent_scale: float | None = None
    scale: float | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values for machines."""
        return {"kind": "dataset"} | {name: _plain(value) for name, value in vars(self).items() if value is not None}

    def lines(self) -> list[str]:
        """The same for people."""
        shown = [f"{count} of {size}" for size, count in list(self.sizes.items())[:_MOST_SIZES]]
        if len(self.sizes) > _MOST_SIZES:
            shown.append(f"{len(self.sizes) - _MOST_SIZES} more sizes")
        lines = [
            f"{self.path}: {self.format}",
            f"images: {self.images} ({', '.join(shown)}){', with alpha' if self.alpha else ''}",
        ]
        if self.cameras is not None:
            models = ", ".join(f"{count} {name}" for name, count in self.cameras.items())
            extent = "bounded" if self.bounded else f"unbounded, content to {self.extent_scale:g} times the region"
            lines += [
                f"views: {self.train} to train on, {self.test} held out",
                f"cameras: {models}; 1 unit of the dataset is {self.scale:.4g} normalised; {extent}",
            ]
        use = "" if self.mask_use is None else f" ({'the object' if self.mask_use == 'alpha' else 'pixels to ignore'})"
        lines += [
            f"masks: {self.masks}{use}; depth images: {self.depths}; normal maps: {self.normals}",
            f"points: {self.points}",
            f"memory: {self.decoded_bytes / 2**20:.0f} MiB decoded",
        ]
        lines += [f"problem: {problem}" for problem in self.problems]
        return lines if self.problems else [*lines, "no problems found"]


def inspect_dataset(path: str | Path) -> DatasetSummary:
    """Reads a dataset as training would, and decodes every image once.

    Raises:
        DataError: nothing there that is known, or so broken that training would refuse it.
    """
    path = Path(path)
    if path.exists() and recognise(path) is None and is_folder(path):
        photos = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if photos:
            return _photos(path, photos)
    return _posed(load_scene(path))


def _posed(scene: Scene) -> DatasetSummary:
    cameras, images = scene.cameras, scene.images
    return DatasetSummary(
        path=str(scene.path),
        format=scene.format,
        images=len(images),
        sizes=_counted(f"{width} x {height}" for width, height in (picture.size for picture in images.pictures)),
        decoded_bytes=images.total_bytes,
        problems=(*scene.warnings, *_damaged([picture.path for picture in images.pictures])),
        train=len(scene.train_indices),
        test=len(scene.test_indices),
        cameras=_counted(_model(fisheye, k) for fisheye, k in zip(cameras.fisheye, cameras.distortion, strict=True)),
        masks=scene.masked_views,
        mask_use=scene.mask_meaning,
        depths=0 if scene.depths is None else scene.depths.count,
        normals=0 if scene.normals is None else scene.normals.count,
        points=0 if scene.points is None else len(scene.points.points),
        alpha=scene.alpha,
        bounded=scene.bounded,
        extent_scale=scene.extent_scale,
        scale=scene.transform.scale,
    )


def _photos(path: Path, photos: list[Path]) -> DatasetSummary:
    problems = _damaged(photos)
    headers = []
    for photo in photos:
        try:
            headers.append(read_header(photo))
        except DataError:
            # Named among the damaged ones.
            continue
    return DatasetSummary(
        path=str(path),
        format="photos",
        images=len(headers),
        sizes=_counted(f"{header.width} x {header.height}" for header in headers),
        decoded_bytes=sum(header.width * header.height * (4 if header.alpha else 3) for header in headers),
        problems=(*problems, "no camera poses; find them first with 'onefield process'"),
        alpha=any(header.alpha for header in headers),
    )


def _model(fisheye: torch.Tensor, distortion: torch.Tensor) -> str:
    if bool(fisheye):
        return "fisheye"
    return "Brown-Conrady" if bool((distortion != 0).any()) else "pinhole"


def _counted(items) -> dict[str, int]:
    return dict(Counter(items).most_common())


def _damaged(paths: list[Path]) -> list[str]:
    def problem(path: Path) -> str | None:
        try:
            decode(path)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        return [found for found in pool.map(problem, paths) if found is not None]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
