"""From what a format states to a scene: files checked, sizes settled, views split, frame normalised."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from onefield.cameras import Cameras
from onefield.data.capture import Capture, View
from onefield.data.dataset_paths import is_file
from onefield.data.depth_files import missing_readers
from onefield.data.image_store import DEFAULT_BYTE_BUDGET, DepthStore, ImageStore, MaskStore, NormalStore, Picture
from onefield.data.images import ImageHeader, read_header
from onefield.data.masks import MASK_USES, check_mask_size, mask_beside
from onefield.data.normalisation import extent_scale, place, upright_rotation
from onefield.data.pose_checks import FARTHEST_POSITION, FEWEST_VIEWS, check_proportions, checked_views
from onefield.data.scene import Scene, Similarity
from onefield.data.sightings import find_sightings
from onefield.errors import DataError, UsageError, nearest_name
from onefield.types import PointCloud

DEPTH_KINDS = ("auto", "z", "ray")
# Fewer images than this share of those listed: the dataset isn't the one its cameras were made for.
_FEWEST_PRESENT = 0.5
_MOST_THREADS = 8
# Of a photo made smaller, in pixels: less shows nothing.
_LEAST_SIDE = 2


@dataclass(frozen=True)
class LoadOptions:
    """How to load a scene.

    Attributes:
        hold_out_every: where the format has no test views, every n-th view in sorted order is held out, beginning with
            the first; 0 holds none out.
        downscale: pictures shrink by this whole factor, by area averages.
        byte_budget: decoded bytes of pictures to keep.
        masks: what black means, see `onefield.data.masks`: ``"ignore"``, ``"carve"`` or ``"alpha"``; ``"none"``
            disregards masks; ``"auto"`` is alpha where the format says that masks outline the object, else ignore.
        depth_unit: dataset units for one unit of the depth files; None takes what the format says.
        depth_kind: ``"z"`` for depth along the optical axis, ``"ray"`` for distance along each ray; ``"auto"`` takes
            what the format says, which is z where it says nothing.
    """

    hold_out_every: int = 8
    downscale: int | None = None
    byte_budget: int = DEFAULT_BYTE_BUDGET
    masks: str = "auto"
    depth_unit: float | None = None
    depth_kind: str = "auto"

    def __post_init__(self) -> None:
        if self.masks not in MASK_USES:
            raise UsageError(f"Unknown use of masks '{self.masks}': {nearest_name(self.masks, MASK_USES)}.")
        if self.depth_kind not in DEPTH_KINDS:
            raise UsageError(f"Unknown kind of depth '{self.depth_kind}': valid are {', '.join(DEPTH_KINDS)}.")
        if self.depth_unit is not None and not (math.isfinite(self.depth_unit) and self.depth_unit > 0):
            raise UsageError(f"depth_unit must be above 0, dataset units for one of the files', got {self.depth_unit}.")
        if self.hold_out_every < 0 or self.hold_out_every == 1:
            raise UsageError(f"hold_out_every must be 0 or at least 2, got {self.hold_out_every}.")
        if self.downscale is not None and self.downscale < 1:
            raise UsageError(f"downscale must be a whole number of at least 1, got {self.downscale}.")


def assemble(capture: Capture, path: Path, options: LoadOptions) -> Scene:
    """The scene that a capture describes.

    Raises:
        DataError: images missing or broken, impossible cameras, or too few views.
    """
    warnings = list(capture.warnings)
    views = _present(_without_duplicates(capture.views, warnings), path, warnings)
    views, more = checked_views(views, str(path))
    warnings += more
    headers = _headers([view.image_path for view in views])
    fits = [_fitted(view, header, path) for view, header in zip(views, headers, strict=True)]
    for view, fit in zip(views, fits, strict=True):
        check_proportions(view.name, fit.size, fit.focal, fit.center, str(path))
    warnings += _rescaling_warnings(views, fits) + _linear_warnings(headers)
    cameras = _cameras(views, fits)
    transform, up_estimated = _placement(capture, cameras)
    cameras = transform.apply_cameras(cameras)
    if options.downscale not in (None, 1):
        cameras = _downscaled(cameras, options.downscale)
    points = _points(capture, transform)

    mask_use = _mask_use(capture, options)
    masks = _existing_masks(views, fits, path) if mask_use != "none" else [None] * len(views)
    masked = sum(mask is not None for mask in masks)
    warnings += _mask_warnings(views, masked, mask_use)
    pictures = _pictures(views, fits, cameras, [None] * len(views) if mask_use == "ignore" else masks)
    carved = mask_use == "carve" and masked > 0
    alpha = any(header.alpha for header in headers) or (mask_use == "alpha" and masked > 0)
    bounded = alpha if capture.bounded is None else capture.bounded
    train, test, split_rule = _split(views, options, warnings)
    return Scene(
        name=(path if path.is_dir() else path.parent).resolve().name,
        path=path,
        format=capture.format,
        cameras=cameras,
        images=ImageStore(pictures, 4 if alpha or carved else 3, options.byte_budget),
        image_names=tuple(view.name for view in views),
        train_indices=train,
        test_indices=test,
        transform=transform,
        masks=MaskStore(pictures, masks) if mask_use == "ignore" and masked else None,
        mask_meaning=mask_use if masked else None,
        masked_views=masked,
        depths=_depths(views, cameras, capture, options, transform.scale, warnings),
        normals=_normals(views, cameras, warnings),
        points=points,
        sightings=find_sightings(views, capture.points, cameras, transform),
        bounded=bounded,
        extent_scale=1.0 if bounded else _extent(capture, transform, cameras, points),
        near=None if capture.near is None else capture.near * transform.scale,
        far=None if capture.far is None else capture.far * transform.scale,
        alpha=alpha or carved,
        background=capture.background if alpha else "black" if carved else None,
        up_estimated=up_estimated,
        split_rule=split_rule,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Fit:
    """Intrinsics for the picture as it will be decoded; ``rescaled`` from another size than the dataset states."""

    size: tuple[int, int]
    focal: tuple[float, float]
    center: tuple[float, float]
    skew: float = 0.0
    oriented: bool = True
    rescaled: bool = False


def _pictures(views: list[View], fits: list[_Fit], cameras: Cameras, outlines: list[Path | None]) -> list[Picture]:
    sizes = zip(cameras.width.tolist(), cameras.height.tolist(), strict=True)
    return [
        Picture(view.image_path, size, fit.oriented, outline)
        for view, size, fit, outline in zip(views, sizes, fits, outlines, strict=True)
    ]


def _without_duplicates(views: Sequence[View], warnings: list[str]) -> list[View]:
    seen: dict[tuple[Path, str | None], View] = {}
    for view in views:
        seen.setdefault((view.image_path, view.split), view)
    if len(seen) < len(views):
        count = len(views) - len(seen)
        warnings.append(f"{count} views name an image that another view has; the first ones were kept.")
    return list(seen.values())


def _downscaled(cameras: Cameras, factor: int) -> Cameras:
    side = int(min(cameras.width.min(), cameras.height.min()))
    if side < _LEAST_SIDE * factor:
        raise UsageError(
            f"downscale {factor} leaves too little of photos that are {side} pixels wide or high; take at most "
            f"{max(1, side // _LEAST_SIDE)}."
        )
    return cameras.scaled(1.0 / factor)


def _present(views: list[View], path: Path, warnings: list[str]) -> list[View]:
    present = [view for view in views if is_file(view.image_path)]
    missing = [view.image_path for view in views if not is_file(view.image_path)]
    if len(views) == 0:
        raise DataError(f"{path} lists no views; name images and their cameras there.")
    if len(present) < _FEWEST_PRESENT * len(views):
        raise DataError(
            f"{path} lists {len(views)} images but only {len(present)} exist (first missing: {missing[0]}); "
            "put the images where the dataset says."
        )
    if missing:
        warnings.append(f"{len(missing)} of {len(views)} images are missing and were skipped (first: {missing[0]}).")
    return present


def _headers(paths: list[Path]) -> list[ImageHeader]:
    with ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(read_header, paths))


def _fitted(view: View, header: ImageHeader, path: Path) -> _Fit:
    size = (header.width, header.height)
    if view.field_of_view is not None:
        focal = size[0] / 2 / float(np.tan(view.field_of_view / 2))
        return _Fit(size, (focal, focal), (size[0] / 2, size[1] / 2))
    if view.focal is None:
        raise DataError(f"{path}: view '{view.name}' has no focal length; add fl_x or camera_angle_x.")
    stated = view.size or size
    center = view.center or (stated[0] / 2, stated[1] / 2)
    if stated == size:
        return _Fit(size, view.focal, center, view.skew)
    if stated == (header.stored_width, header.stored_height):
        # The poses were found on the pixels as they lie in the file, so the EXIF orientation isn't applied.
        return _Fit(stated, view.focal, center, view.skew, oriented=False)
    factors = (size[0] / stated[0], size[1] / stated[1])
    # Rounding to whole pixels may differ by one on each axis.
    if abs(size[0] - stated[0] * factors[1]) > 1 and abs(size[1] - stated[1] * factors[0]) > 1:
        raise DataError(
            f"{view.image_path} is {size[0]} x {size[1]} pixels, but {path} states intrinsics for {stated[0]} x "
            f"{stated[1]}, another shape; restore the original image or correct the size and intrinsics."
        )
    focal = (view.focal[0] * factors[0], view.focal[1] * factors[1])
    center = (center[0] * factors[0], center[1] * factors[1])
    return _Fit(size, focal, center, view.skew * factors[0], rescaled=True)


def _rescaling_warnings(views: list[View], fits: list[_Fit]) -> list[str]:
    warnings = []
    rescaled = [(view, fit) for view, fit in zip(views, fits, strict=True) if fit.rescaled]
    if rescaled:
        view, fit = rescaled[0]
        warnings.append(
            f"{len(rescaled)} images have another size than their intrinsics, which were scaled to fit "
            f"(first: {view.name}, {fit.size[0]} x {fit.size[1]} for {view.size[0]} x {view.size[1]})."
        )
    stored = sum(not fit.oriented for fit in fits)
    if stored:
        warnings.append(f"{stored} images keep their stored orientation despite EXIF, as their intrinsics fit that.")
    return warnings


def _linear_warnings(headers: list[ImageHeader]) -> list[str]:
    linear = sum(header.linear for header in headers)
    if linear == 0:
        return []
    return [f"{linear} images hold linear light; it is clipped to [0, 1] and encoded as sRGB, without tone mapping."]


def _cameras(views: list[View], fits: list[_Fit]) -> Cameras:
    sizes = torch.tensor([fit.size for fit in fits], dtype=torch.int64)
    return Cameras(
        torch.from_numpy(np.stack([view.camera_to_world for view in views])),
        torch.tensor([fit.focal for fit in fits], dtype=torch.float64),
        torch.tensor([fit.center for fit in fits], dtype=torch.float64),
        sizes[:, 0].clone(),
        sizes[:, 1].clone(),
        torch.tensor([view.distortion for view in views], dtype=torch.float64),
        torch.tensor([view.fisheye for view in views], dtype=torch.bool),
        torch.tensor([view.radial8 for view in views], dtype=torch.float64),
        torch.tensor([fit.skew for fit in fits], dtype=torch.float64),
    )


def _placement(capture: Capture, cameras: Cameras) -> tuple[Similarity, bool]:
    poses = cameras.camera_to_world.numpy()
    given = capture.transform
    if given is not None:
        if capture.z_up:
            return given, False
        rotation, estimated = upright_rotation(given.apply_poses(cameras.camera_to_world).numpy())
        turn = torch.from_numpy(rotation)
        return Similarity(given.scale, turn @ given.rotation, turn @ given.translation), estimated
    half_sizes = torch.stack([cameras.width, cameras.height], dim=-1) / 2
    tangents = (half_sizes / cameras.focal).amax(dim=-1).numpy()
    limits = None if capture.near is None or capture.far is None else (capture.near, capture.far)
    points = None if capture.points is None else capture.points[_usable(capture.points)]
    placement = place(poses, tangents, points, limits, capture.z_up)
    return placement.similarity, placement.up_estimated


def _usable(points: np.ndarray) -> np.ndarray:
    """Bool N: points that are finite and in sane units."""
    return (np.abs(points) < FARTHEST_POSITION).all(axis=1)


def _points(capture: Capture, transform: Similarity) -> PointCloud | None:
    if capture.points is None:
        return None
    usable = _usable(capture.points)
    if not usable.any():
        return None
    positions = transform.apply(torch.from_numpy(capture.points[usable])).float()
    if capture.colors is None:
        return PointCloud(positions)
    return PointCloud(positions, torch.from_numpy(capture.colors[usable]).float())


def _mask_use(capture: Capture, options: LoadOptions) -> str:
    if options.masks != "auto":
        return options.masks
    return "alpha" if capture.object_masks else "ignore"


def _existing_masks(views: list[View], fits: list[_Fit], path: Path) -> list[Path | None]:
    root = path if path.is_dir() else path.parent
    named = [mask_beside(root, view.image_path) if view.mask_path is None else view.mask_path for view in views]
    masks = [mask if mask is not None and is_file(mask) else None for mask in named]
    headers = iter(_headers([mask for mask in masks if mask is not None]))
    for view, fit, mask in zip(views, fits, masks, strict=True):
        if mask is not None:
            check_mask_size(mask, next(headers), view.image_path, fit.size, fit.oriented)
    return masks


def _mask_warnings(views: list[View], masked: int, mask_use: str) -> list[str]:
    named = masked or any(view.mask_path is not None for view in views)
    if mask_use == "none" or not named or masked == len(views):
        return []
    return [f"{masked} of {len(views)} views have a mask; the others use all their pixels."]


def _depths(
    views: list[View],
    cameras: Cameras,
    capture: Capture,
    options: LoadOptions,
    scale: float,
    warnings: list[str],
) -> DepthStore | None:
    paths = [view.depth_path if view.depth_path is not None and is_file(view.depth_path) else None for view in views]
    count = sum(path is not None for path in paths)
    if any(view.depth_path is not None for view in views) and count < len(views):
        warnings.append(f"{count} of {len(views)} views have a depth image.")
    for suffix, cure in missing_readers([path for path in paths if path is not None]):
        unread = [path for path in paths if path is not None and path.suffix.lower() == suffix]
        warnings.append(f"{len(unread)} depth images ({suffix}) were left out, as nothing here reads them: {cure}")
        paths = [None if path in unread else path for path in paths]
        count -= len(unread)
    unit = capture.depth_unit if options.depth_unit is None else options.depth_unit
    along_rays = capture.depth_along_rays if options.depth_kind == "auto" else options.depth_kind == "ray"
    lenses = [view.depth_lens for view in views]
    return DepthStore(cameras, paths, unit * scale, along_rays, lenses) if count else None


def _normals(views: list[View], cameras: Cameras, warnings: list[str]) -> NormalStore | None:
    paths = [view.normal_path if view.normal_path is not None and is_file(view.normal_path) else None for view in views]
    count = sum(path is not None for path in paths)
    if any(view.normal_path is not None for view in views) and count < len(views):
        warnings.append(f"{count} of {len(views)} views have a normal map.")
    return NormalStore(cameras, paths) if count else None


def _split(views: list[View], options: LoadOptions, warnings: list[str]) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Views to train on, views held out, and the rule in words."""
    everything = torch.arange(len(views))
    splits = [view.split for view in views]
    if "train" in splits and len(set(splits)) > 1:
        held = "test" if "test" in splits else "val"
        train = torch.tensor([split == "train" for split in splits])
        test = torch.tensor([split == held for split in splits])
        if int(train.sum()) < FEWEST_VIEWS:
            raise DataError(f"The train split has {int(train.sum())} views; at least {FEWEST_VIEWS} are needed.")
        if not test.any():
            warnings.append("The data set names no views to hold out that are there: none was held out for evaluation.")
        return everything[train], everything[test], f"the data set's own {held} views" if test.any() else "none"
    if options.hold_out_every == 0 or len(views) <= FEWEST_VIEWS:
        if options.hold_out_every:
            warnings.append(f"Only {len(views)} views: none was held out for evaluation.")
        return everything, everything[:0], "none"
    order = torch.tensor(sorted(range(len(views)), key=lambda index: views[index].name))
    held_out = order[:: options.hold_out_every].sort().values
    kept = torch.ones(len(views), dtype=torch.bool)
    kept[held_out] = False
    return everything[kept], held_out, f"every {options.hold_out_every}th view by name, from the first on"


def _extent(capture: Capture, transform: Similarity, cameras: Cameras, points: PointCloud | None) -> float:
    if capture.extent_scale is not None:
        return capture.extent_scale
    seen = [cameras.positions]
    if capture.far is not None:
        seen.append(cameras.positions + capture.far * transform.scale * cameras.forwards)
    reached = torch.cat(seen).numpy()
    return extent_scale(reached, None if points is None else points.points.double().numpy())
