"""Pictures, masks, depths and normals of a scene, decoded when asked for and kept within a budget of bytes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.depth_files import read_depth
from onefield.data.images import decode, decode_mask, decode_outline
from onefield.data.masks import colors_of_marked
from onefield.data.normal_files import read_normals
from onefield.errors import DataError, UsageError

DEFAULT_BYTE_BUDGET = 2 << 30
# Decoding releases the interpreter lock, but more threads than this wait for memory rather than work.
_MOST_THREADS = 8
# Beyond 84 degrees off the axis, which only fisheyes see, depth along the axis says nothing about distance.
_SMALLEST_COSINE = 0.1


# From the axes of normal maps (x right, y up, z towards the camera) to the camera's own.
_FLIPPED = np.array([1.0, -1.0, -1.0])

# Focal lengths and centre (fx, fy, cx, cy) in pixels.
Lens = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """One image of a store.

    Attributes:
        path: file.
        size: width and height that it is delivered in.
        oriented: whether the file's EXIF orientation is applied.
        object_mask: mask whose outline becomes the alpha channel, or None.
    """

    path: Path
    size: tuple[int, int]
    oriented: bool = True
    object_mask: Path | None = None


class ImageStore:
    """The pictures of a scene, one a view, as 8-bit values.

    Attributes:
        pictures: files and sizes.
        channels: 3, or 4 with straight alpha (opaque where a file has none).
        byte_budget: decoded bytes kept; the least recently used picture goes first.
    """

    def __init__(self, pictures: Sequence[Picture], channels: int, byte_budget: int = DEFAULT_BYTE_BUDGET) -> None:
        self.pictures = tuple(pictures)
        self.channels = channels
        self.byte_budget = byte_budget
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._flats: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.pictures)

    def byte_size(self, index: int) -> int:
        """Decoded bytes of one picture."""
        width, height = self.pictures[index].size
        return width * height * self.channels

    @property
    def total_bytes(self) -> int:
        """Decoded bytes of all pictures."""
        return sum(self.byte_size(index) for index in range(len(self)))

    def pixels(self, index: int) -> UInt8[np.ndarray, "H W c"]:
        """One picture's 8-bit values.

        Raises:
            DataError: the file is missing or damaged.
        """
        kept = self._remembered(index)
        if kept is not None:
            return kept
        decoded = self._decoded(index)
        with self._lock:
            self._kept[index] = decoded
            self._trim()
        return decoded

    def image(self, index: int) -> Float[Tensor, "H W c"]:
        """One picture with values in [0, 1], sRGB, alpha straight.

        Raises:
            DataError: the file is missing or damaged.
        """
        return torch.from_numpy(self.pixels(index).astype(np.float32) / 255)

    def colors(
        self, camera_indices: Int[Tensor, "R"], x: Int[Tensor, "R"], y: Int[Tensor, "R"]
    ) -> Float[Tensor, "R c"]:
        """Values of single pixels, column ``x`` and row ``y``, in [0, 1].

        Raises:
            DataError: a file is missing or damaged.
        """
        answer = torch.empty(len(camera_indices), self.channels)
        for index in torch.unique(camera_indices).tolist():
            chosen = camera_indices == index
            values = self.pixels(index)[y[chosen].numpy(), x[chosen].numpy()]
            answer[chosen] = torch.from_numpy(values.astype(np.float32) / 255)
        return answer

    def gather_flat(self, indices: Sequence[int]) -> UInt8[Tensor, "N c"]:
        """All pixels of several pictures, one after the other, row by row; decoded by several threads.

        Kept within the budget, so that asking again for the same pictures costs nothing. Treat it as read-only.

        Raises:
            DataError: a file is missing or damaged.
        """
        wanted = tuple(indices)
        with self._lock:
            if wanted in self._flats:
                self._flats.move_to_end(wanted)
                return self._flats[wanted]
        sizes = [self.pictures[index].size[0] * self.pictures[index].size[1] for index in wanted]
        ends = np.cumsum(sizes)
        remembered = [self._remembered(index) for index in wanted]
        with self._lock:  # what must go to make room goes first, so that two budgets are never held at once
            self._trim(sum(sizes) * self.channels)
        flat = np.empty((int(ends[-1]) if sizes else 0, self.channels), dtype=np.uint8)

        def fill(place: int) -> None:
            kept = remembered[place]
            picture = self._decoded(wanted[place]) if kept is None else kept
            flat[ends[place] - sizes[place] : ends[place]] = picture.reshape(-1, self.channels)

        _in_threads(fill, len(sizes))
        answer = torch.from_numpy(flat)
        with self._lock:
            self._flats[wanted] = answer
            self._trim()
        return answer

    def _remembered(self, index: int) -> np.ndarray | None:
        """The picture if it is in memory, alone or as part of a flat array."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
            for members, flat in self._flats.items():
                if index in members:
                    before = members[: members.index(index)]
                    begin = sum(self.byte_size(other) for other in before) // self.channels
                    width, height = self.pictures[index].size
                    return flat[begin : begin + width * height].numpy().reshape(height, width, self.channels)
        return None

    def _decoded(self, index: int) -> np.ndarray:
        picture = self.pictures[index]
        values = decode(picture.path, picture.size, oriented=picture.oriented)
        if self.channels == 3:
            return np.ascontiguousarray(values[..., :3])
        if values.shape[-1] == 3:
            values = np.concatenate([values, np.full_like(values[..., :1], 255)], axis=-1)
        if picture.object_mask is not None:
            outline = decode_outline(picture.object_mask, picture.size, oriented=picture.oriented)
            values = np.concatenate([colors_of_marked(values[..., :3], outline), values[..., 3:]], axis=-1)
            values[..., 3] = (values[..., 3].astype(np.uint16) * outline + 127) // 255
        return np.ascontiguousarray(values)

    def _trim(self, room: int = 0) -> None:
        """Forgets single pictures, then flat arrays, the longest unused first, until the budget less room holds."""
        total = room + sum(kept.nbytes for kept in self._kept.values())
        total += sum(flat.numel() for flat in self._flats.values())
        while total > self.byte_budget and self._kept:
            total -= self._kept.popitem(last=False)[1].nbytes
        while total > self.byte_budget and self._flats:
            total -= self._flats.popitem(last=False)[1].numel()


class MaskStore:
    """Which pixels of each view to learn from; views without a mask file use all."""

    def __init__(self, pictures: Sequence[Picture], masks: Sequence[Path | None]) -> None:
        if len(pictures) != len(masks):
            raise UsageError(f"Masks come one a picture: {len(masks)} for {len(pictures)}.")
        self._pictures = tuple(pictures)
        self._masks = tuple(masks)

    @property
    def count(self) -> int:
        """Views that have a mask."""
        return sum(mask is not None for mask in self._masks)

    def mask(self, index: int) -> Bool[Tensor, "H W"]:
        """True where the pixel counts.

        Raises:
            DataError: the file is missing or damaged.
        """
        picture, path = self._pictures[index], self._masks[index]
        if path is None:
            return torch.ones(picture.size[1], picture.size[0], dtype=torch.bool)
        return torch.from_numpy(decode_mask(path, picture.size, oriented=picture.oriented))

    def gather_flat(self, indices: Sequence[int]) -> Bool[Tensor, "N"]:
        """The masks of several views, one after the other, row by row.

        Raises:
            DataError: a file is missing or damaged.
        """
        parts: list[Tensor | None] = [None] * len(indices)

        def fill(place: int) -> None:
            parts[place] = self.mask(indices[place]).reshape(-1)

        _in_threads(fill, len(indices))
        return torch.cat([part for part in parts if part is not None]) if parts else torch.zeros(0, dtype=torch.bool)


class DepthStore:
    """Measured distances along rays, in normalised units; depth along the optical axis is converted here.

    Args:
        cameras: normalised views.
        paths: files that `read_depth` reads; None for a view without.
        unit: normalised units for one unit of the files.
        along_rays: the files hold distances along rays rather than depth along the optical axis.
        lenses: focal lengths and centre (fx, fy, cx, cy) in pixels of the map, where a map was taken through a lens of
            its own; None for a map that shows what its picture shows, in another size perhaps.
    """

    def __init__(
        self,
        cameras: Cameras,
        paths: Sequence[Path | None],
        unit: float,
        along_rays: bool = False,
        lenses: Sequence[Lens | None] | None = None,
    ) -> None:
        self._cameras = cameras
        self._paths = tuple(paths)
        self._lenses = (None,) * len(self._paths) if lenses is None else tuple(lenses)
        self.unit = unit
        self.along_rays = along_rays

    @property
    def count(self) -> int:
        """Views that have depth."""
        return sum(path is not None for path in self._paths)

    def distances(self, index: int) -> Float[Tensor, "H W"] | None:
        """Distance along the ray of each pixel, NaN where nothing was measured; None where the view has no depth file.

        Raises:
            DataError: the file is damaged, has several channels, or has another shape than the picture.
        """
        path = self._paths[index]
        if path is None:
            return None
        width, height = int(self._cameras.width[index]), int(self._cameras.height[index])
        raw = read_depth(path, (width, height))
        lens = self._lenses[index]
        seen = _enlarged(raw, width, height, path) if lens is None else self._looked_up(raw, lens, index)
        values = seen * self.unit
        if not self.along_rays:
            cosines = self._cosines(index)
            values = np.where(cosines > _SMALLEST_COSINE, values / np.maximum(cosines, _SMALLEST_COSINE), np.nan)
        # Scanners write 0, NaN, infinity or negative numbers where they measured nothing.
        values[~np.isfinite(values) | (values <= 0)] = np.nan
        return torch.from_numpy(values.astype(np.float32))

    def gather_flat(self, indices: Sequence[int]) -> Float[Tensor, "N"]:
        """The distances of several views, one after the other, row by row; NaN for views without a file.

        Raises:
            DataError: as `distances`.
        """
        parts: list[Tensor] = [torch.empty(0)] * len(indices)

        def fill(place: int) -> None:
            index = indices[place]
            found = self.distances(index)
            pixels = int(self._cameras.width[index]) * int(self._cameras.height[index])
            parts[place] = torch.full((pixels,), torch.nan) if found is None else found.reshape(-1)

        _in_threads(fill, len(indices))
        return torch.cat(parts) if parts else torch.empty(0)

    def _looked_up(self, raw: Float[np.ndarray, "h w"], lens: Lens, index: int) -> Float[np.ndarray, "H W"]:
        """The nearest number of a map along each pixel's ray; NaN where the map doesn't see that far out."""
        directions = self._cameras.image_rays(index).directions.double()
        local = (directions @ self._cameras.camera_to_world[index, :, :3]).numpy()
        fx, fy, cx, cy = lens
        ahead = local[:, 2] > _SMALLEST_COSINE
        depth = np.where(ahead, local[:, 2], 1.0)
        columns = np.floor(fx * local[:, 0] / depth + cx)
        rows = np.floor(fy * local[:, 1] / depth + cy)
        seen = ahead & (columns >= 0) & (columns < raw.shape[1]) & (rows >= 0) & (rows < raw.shape[0])
        values = np.full(len(local), np.nan)
        values[seen] = raw[rows[seen].astype(np.int64), columns[seen].astype(np.int64)]
        return values.reshape(int(self._cameras.height[index]), int(self._cameras.width[index]))

    def _cosines(self, index: int) -> np.ndarray:
        """Of the angles between each pixel's ray and the optical axis, ``H W``."""
        directions = self._cameras.image_rays(index).directions.double()
        width, height = int(self._cameras.width[index]), int(self._cameras.height[index])
        return (directions @ self._cameras.forwards[index]).reshape(height, width).numpy()


class NormalStore:
    """Known normals of what pixels show, in the normalised frame; from the camera's axes they are turned here.

    Args:
        cameras: normalised views.
        paths: files that `read_normals` reads; None for a view without.
    """

    def __init__(self, cameras: Cameras, paths: Sequence[Path | None]) -> None:
        self._cameras = cameras
        self._paths = tuple(paths)

    @property
    def count(self) -> int:
        """Views that have normals."""
        return sum(path is not None for path in self._paths)

    def normals(self, index: int) -> Float[Tensor, "H W 3"] | None:
        """Unit normals, NaN where nothing is known; None where the view has no file.

        Raises:
            DataError: the file is damaged, has another shape than the picture, or most of its normals look away from
                the camera, which no visible surface does.
        """
        path = self._paths[index]
        if path is None:
            return None
        width, height = int(self._cameras.width[index]), int(self._cameras.height[index])
        local = _enlarged(read_normals(path), width, height, path) * _FLIPPED
        turned = torch.from_numpy(local) @ self._cameras.camera_to_world[index, :, :3].T
        looking = self._cameras.image_rays(index).directions.reshape(height, width, 3)
        known = torch.isfinite(turned).all(-1)
        away = ((turned * looking).sum(-1) > 0) & known
        if 2 * int(away.sum()) > int(known.sum()):
            raise DataError(
                f"{path}: {100 * int(away.sum()) / int(known.sum()):.0f} % of the normals look away from the camera; "
                "write them with x right, y up and z towards the camera (from axes with y down and z forward: negate "
                "y and z)."
            )
        return turned.float()

    def gather_flat(self, indices: Sequence[int]) -> Float[Tensor, "N 3"]:
        """The normals of several views, one after the other, row by row; NaN for views without a file.

        Raises:
            DataError: as `normals`.
        """
        parts: list[Tensor] = [torch.empty(0, 3)] * len(indices)

        def fill(place: int) -> None:
            index = indices[place]
            found = self.normals(index)
            pixels = int(self._cameras.width[index]) * int(self._cameras.height[index])
            parts[place] = torch.full((pixels, 3), torch.nan) if found is None else found.reshape(-1, 3)

        _in_threads(fill, len(indices))
        return torch.cat(parts) if parts else torch.empty(0, 3)


def _enlarged(raw: Float[np.ndarray, "h w *c"], width: int, height: int, path: Path) -> Float[np.ndarray, "H W *c"]:
    """A map that shows what its picture shows in the picture's size, by its nearest pixels."""
    # one pixel either way: sizes are rounded
    across, down = width * raw.shape[0] / height, height * raw.shape[1] / width
    if abs(across - raw.shape[1]) > across / width and abs(down - raw.shape[0]) > down / height:
        raise DataError(
            f"{path} is {raw.shape[1]} x {raw.shape[0]} pixels, but its picture is {width} x {height}, another "
            "shape; save the map in the picture's shape."
        )
    rows = ((np.arange(height) + 0.5) * raw.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * raw.shape[1] / width).astype(np.int64)
    return raw[rows[:, None], columns[None, :]].astype(np.float64)


def _in_threads(work, count: int) -> None:
    threads = min(_MOST_THREADS, os.cpu_count() or 1, max(count, 1))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        # Consuming the iterator raises the first error.
        list(pool.map(work, range(count)))
