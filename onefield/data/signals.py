"""Signals on regular grids of samples, and shapes, from arrays and files.

Conventions, for every kind: sample ``values[..., k, j, i]`` is the value at the centre of its cell, at the point
``((i + 0.5) h, (j + 0.5) h, (k + 0.5) h, ...)``: coordinates are listed from the array's last axis to its first (x runs
along a row, y down the rows, the third axis through slices or frames). Cells are cubes with the edge
``h = 1 / longest axis``, so the domain is the box from 0 to ``axis / longest axis`` on each axis. NaN marks samples
that are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.points import TABLE_SUFFIXES, Points, is_point_file, load_points
from onefield.data.signal_files import (
    MESH_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    read_array,
    read_audio,
    read_frames,
    read_mesh,
    read_picture,
    read_video,
)
from onefield.data.signal_folders import holds_many_signals, signal_files
from onefield.data.slice_files import SLICES_SUFFIXES, holds_slices, load_slices
from onefield.data.slices import Slices
from onefield.errors import DataError, UsageError, nearest_name
from onefield.kernels.point_mesh import TriangleTree, build_tree, signed_distance, winding_number
from onefield.types import Bounds, Mesh

# Axes of the grid of each kind, without channels.
KIND_AXES = {"audio": 1, "image": 2, "video": 3, "volume": 3}
# The last axis of an array counts as channels up to this length (RGBA).
_MOST_CHANNELS = 4
_UNSIGNED_PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_AUDIO_RANGE = 2.0
# Single precision rounds a coordinate by up to this part of it; what moves vertices by more than the second part of the
# longest side distorts a shape.
_ROUNDING, _DISTORTED = 2.0**-24, 1e-4
# Room around a shape, as a part of its longest side: enough that the field around the surface is seen from all sides.
_SHAPE_MARGIN = 0.1
# What may be fitted of a shape.
SHAPE_QUANTITIES = ("distance", "occupancy")


def cell_centers(shape: Sequence[int]) -> list[Float[Tensor, "_"]]:
    """Coordinates of the cells' centres of a grid along each axis of its domain, x first.

    Args:
        shape: cells along the axes of the array, x last.
    """
    return [(torch.arange(side) + 0.5) / max(shape) for side in reversed(shape)]


@dataclass(frozen=True)
class Signal:
    """Samples of a signal on a regular grid; conventions as the module states.

    Attributes:
        kind: ``"audio"``, ``"image"``, ``"video"`` or ``"volume"``.
        values: float32; NaN where unknown, else finite.
        value_range: greatest less smallest possible value, the peak of PSNR: 1 for images and videos from files and for
            arrays of uint8 (values in [0, 1]), 2 for audio (values in [-1, 1]), else the spread of the samples.
        rate: samples or frames a second, where known.
    """

    kind: str
    values: Float[Tensor, "*axes c"]
    value_range: float
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KIND_AXES:
            raise UsageError(f"Unknown kind of signal '{self.kind}': {nearest_name(self.kind, tuple(KIND_AXES))}.")
        if self.values.ndim != KIND_AXES[self.kind] + 1:
            raise DataError(
                f"A signal of kind {self.kind} has {KIND_AXES[self.kind]} axes and channels, but the values have shape "
                f"{tuple(self.values.shape)}."
            )
        if self.values.numel() == 0:
            raise DataError(f"The {self.kind} has no samples (shape {tuple(self.values.shape)}).")
        if torch.isinf(self.values).any():
            raise DataError(f"The {self.kind} has infinite values; replace them, or mark them as unknown with NaN.")
        if torch.isnan(self.values).all():
            raise DataError(f"All values of the {self.kind} are NaN, so nothing is known of it.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along each axis of ``values``, without channels."""
        return tuple(self.values.shape[:-1])

    @property
    def channels(self) -> int:
        return self.values.shape[-1]

    @property
    def description(self) -> str:
        """What it is, for people."""
        size = " x ".join(str(side) for side in reversed(self.shape))
        missing = self.values.reshape(-1, self.channels).shape[0] - len(self.known())
        unknown = f", {missing} samples unknown" if missing else ""
        return f"{self.kind} of {size} samples, {self.channels} channel{'s' * (self.channels > 1)}{unknown}"

    @property
    def domain(self) -> Bounds:
        """The box of all cells, axes in the order of coordinates (x first)."""
        sides = self.shape[::-1]
        return Bounds((0.0,) * len(sides), tuple(side / max(sides) for side in sides))

    def known(self) -> Int[Tensor, "known"]:
        """Flat indices, in the order of ``values``, of the samples whose channels are all known."""
        return torch.nonzero(torch.isfinite(self.values.reshape(-1, self.channels)).all(-1)).flatten()

    def points(self, indices: Int[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """Centres of the cells with these flat indices."""
        cell = 1 / max(self.shape)
        columns, rest = [], indices
        for side in reversed(self.shape):
            # float64, so that long audio keeps neighbouring samples apart until the final rounding
            columns.append(((rest % side).double() + 0.5) * cell)
            rest = torch.div(rest, side, rounding_mode="floor")
        return torch.stack(columns, dim=-1).float()

    def at(self, indices: Int[Tensor, "n"]) -> Float[Tensor, "n c"]:
        """Values of the cells with these flat indices."""
        return self.values.reshape(-1, self.channels)[indices]


@dataclass(frozen=True)
class Shape:
    """A surface whose signed distance, or whose inside, is the signal, in the mesh's own frame and unit.

    Attributes:
        mesh: as in the file.
        tree: for distances.
        domain: the cube about the mesh, with a tenth of its side to spare all round.
        quantity: ``"distance"``, or ``"occupancy"``, 1 inside and 0 outside.
    """

    mesh: Mesh
    tree: TriangleTree
    domain: Bounds
    kind: str = "shape"
    quantity: str = "distance"

    @staticmethod
    def of(mesh: Mesh, quantity: str = "distance") -> Shape:
        """Prepares a mesh.

        Raises:
            UsageError: an unknown quantity.
            DataError: no faces, no extent, coordinates that are not finite, or so far from the origin that single
                precision distorts the shape.
        """
        if quantity not in SHAPE_QUANTITIES:
            raise UsageError(f"A shape has no '{quantity}' to fit: {nearest_name(quantity, SHAPE_QUANTITIES)}.")
        tree = build_tree(mesh.vertices, mesh.faces)
        corners = mesh.vertices[mesh.faces.long()].reshape(-1, 3).double()
        low, high = corners.amin(0), corners.amax(0)
        side = (high - low).max().item()
        if side <= 0:
            raise DataError("All vertices of the mesh coincide, so there is no surface.")
        farthest = max(low.abs().max().item(), high.abs().max().item())
        if farthest * _ROUNDING > _DISTORTED * side:
            raise DataError(
                f"The mesh of {side:.4g} units lies {farthest:.4g} from the origin, where single precision moves its "
                f"vertices by up to {farthest * _ROUNDING:.2g}; move it to the origin first."
            )
        center, half = (low + high) / 2, side * (0.5 + _SHAPE_MARGIN)
        domain = Bounds(tuple((center - half).tolist()), tuple((center + half).tolist()))
        return Shape(mesh, tree, domain, quantity=quantity)

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"shape of {len(self.mesh.vertices)} vertices and {len(self.mesh.faces)} faces"

    @property
    def scale(self) -> float:
        """Side of the domain, in the mesh's unit."""
        return self.domain.extent[0]

    def distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Exact signed distance, negative inside."""
        return signed_distance(points, self.tree)

    def contains(self, points: Float[Tensor, "n 3"]) -> Tensor:
        """Bool ``n``: inside, by the winding number."""
        return winding_number(points, self.tree).abs() > 0.5

    def surface_points(self, count: int, generator: torch.Generator) -> Float[Tensor, "n 3"]:
        """Points spread evenly over the surface's area."""
        corners = self.mesh.vertices[self.mesh.faces.long()]
        edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = torch.linalg.vector_norm(torch.linalg.cross(edge1, edge2), dim=-1).double().cumsum(0)
        picks = torch.rand(count, dtype=torch.float64, generator=generator) * area[-1]
        face = torch.searchsorted(area, picks).clamp(max=len(corners) - 1)
        u, v = torch.rand(2, count, 1, generator=generator)
        # the square root makes the density even (Osada et al. 2002, eq. 1)
        u = u.sqrt()
        return corners[face, 0] + u * (1 - v) * edge1[face] + u * v * edge2[face]


def load_shapes(folder: str | Path) -> dict[str, Shape]:
    """All meshes of a folder by their files' names, in the order of these; files of points are left out.

    Raises:
        DataError: no mesh there, or one that can't be read.
    """
    place = Path(folder)
    paths = sorted(path for path in place.iterdir() if path.suffix.lower() in MESH_SUFFIXES)
    shapes = {path.name: Shape.of(read_mesh(path)) for path in paths if not is_point_file(path)}
    if not shapes:
        raise DataError(f"{place} holds no meshes; known are {', '.join(MESH_SUFFIXES)}.")
    return shapes


def load_signals(folder: str | Path) -> dict[str, Signal]:
    """All pictures, sounds, arrays and video files of a folder by their names, in the order of these.

    Raises:
        DataError: no folder, none of these in it, one that can't be read, or signals of different kinds.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place} is no folder; give one with pictures, sounds, arrays or videos.")
    suffixes = (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES, ".wav", ".npy", ".npz")
    paths = sorted(path for path in place.iterdir() if path.suffix.lower() in suffixes)
    loaded = {path.name: load_signal(path) for path in paths}
    signals = {name: signal for name, signal in loaded.items() if isinstance(signal, Signal)}
    if not signals:
        raise DataError(f"{place} holds no signals; known are {', '.join(sorted(suffixes))}.")
    kinds = {signal.kind: name for name, signal in signals.items()}
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise DataError(f"{place} holds {first} ({one}) and {second} ({other}); give signals of one kind.")
    return signals


def signal_of(array: np.ndarray | Tensor, kind: str | None = None, rate: float | None = None) -> Signal:
    """A signal from an array.

    Args:
        array: numbers; uint8 is divided by 255, everything else taken as it is. What is masked is unknown.
        kind: None guesses: one axis is audio, two are an image, three an image where the last is at most 4 long and
            else a volume, four a video.
        rate: samples or frames a second.

    Raises:
        UsageError: an unknown kind.
        DataError: no samples, no numbers, an infinite value, or a shape that is no signal.
    """
    if isinstance(array, np.ma.MaskedArray) and array.mask.any():
        array = array.astype(np.float32).filled(np.nan)
    if isinstance(array, Tensor):
        # NumPy has no bfloat16
        array = (array.float() if array.dtype == torch.bfloat16 else array).detach().cpu().numpy()
    numbers = np.asarray(array)
    if numbers.dtype.kind not in "buif":
        raise DataError(f"A signal needs real numbers, got an array of {numbers.dtype}.")
    chosen = _guess(numbers.shape) if kind is None else kind
    if chosen not in KIND_AXES:
        raise UsageError(f"Unknown kind of signal '{chosen}': {nearest_name(chosen, tuple(KIND_AXES))}.")
    if numbers.ndim == KIND_AXES[chosen]:
        numbers = numbers[..., None]
    if numbers.ndim != KIND_AXES[chosen] + 1:
        raise DataError(f"An array of shape {numbers.shape} is no {chosen}; reshape it, or name another kind.")
    if numbers.dtype == np.uint8:
        return Signal(chosen, _tensor(numbers, _UNSIGNED_PEAKS[numbers.dtype]), 1.0, rate)
    values = _tensor(numbers, 1.0)
    if chosen == "audio":
        return Signal(chosen, values, _AUDIO_RANGE, rate)
    return Signal(chosen, values, _spread(values), rate)


def _guess(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "image" if shape[-1] <= _MOST_CHANNELS else "volume"
    kinds = {1: "audio", 2: "image", 4: "video" if shape[-1:] and shape[-1] <= _MOST_CHANNELS else "none"}
    kind = kinds.get(len(shape), "none")
    if kind == "none":
        raise DataError(f"An array of shape {shape} is no signal that can be guessed; name its kind.")
    return kind


def _tensor(numbers: np.ndarray, peak: float) -> Tensor:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(numbers, dtype=np.float32)
    if np.isinf(values).any() and not np.isinf(numbers).any():
        raise DataError(
            f"Values reach {np.nanmax(np.abs(numbers)):.3g}, more than the 3.4e38 that fields hold; divide them first."
        )
    return torch.from_numpy(values / np.float32(peak))


def _spread(values: Tensor) -> float:
    known = values[torch.isfinite(values)]
    spread = 0.0 if known.numel() == 0 else (known.max() - known.min()).item()
    # a constant signal has no spread; any positive range gives PSNR a meaning
    return spread if spread > 0 else 1.0


def _from_picture(numbers: np.ndarray, kind: str, rate: float | None = None) -> Signal:
    axes = KIND_AXES[kind]
    shaped = numbers if numbers.ndim == axes + 1 else numbers[..., None]
    if numbers.dtype in _UNSIGNED_PEAKS:
        return Signal(kind, _tensor(shaped, _UNSIGNED_PEAKS[numbers.dtype]), 1.0, rate)
    values = _tensor(shaped, 1.0)
    return Signal(kind, values, 1.0 if numbers.dtype == np.bool_ else _spread(values), rate)


def _frames(folder: Path) -> np.ndarray:
    if holds_many_signals(folder):
        raise DataError(
            f"{folder} is not one signal, for it holds {len(signal_files(folder))} that are no frames of a video: fit "
            "each by itself with 'onefield fit FOLDER', or number the frames without gaps."
        )
    return read_frames(folder)


def load_signal(path: str | Path, kind: str | None = None) -> Signal | Shape | Points | Slices:
    """A signal, shape, cloud of points or slices from a file or a folder.

    Pictures of any channels and bit depth (8 and 16 bits become [0, 1], EXR and float TIFF stay linear as they are),
    WAV (integers become [-1, 1]), video files and folders of frames, ``.npy`` and ``.npz`` with one array, and meshes
    (as signed distance; GLB and glTF, which are y up, turned z up). Points on a surface come from PLY without faces,
    ``.xyz``, and ``.npy`` with 3 or 6 columns; slices as `load_slices` reads them. What makes a folder's pictures
    frames is said by `onefield.data.signal_folders.holds_many_signals`.

    Args:
        kind: of an array in a file, where the guess is wrong.

    Raises:
        DataError: missing, unreadable, of an unknown format, without samples, or a folder of many signals; the message
            names the file.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; name a picture, sound, video, array, mesh or slices.")
    try:
        return _loaded(path, kind)
    except DataError as error:
        # what is made of the numbers doesn't know where they are from
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _loaded(path: Path, kind: str | None) -> Signal | Shape | Points | Slices:
    suffix = path.suffix.lower()
    if holds_slices(path):
        return load_slices(path)
    if path.is_dir():
        return _from_picture(_frames(path), "video")
    if kind is None and is_point_file(path):
        return load_points(path)
    if suffix in PICTURE_SUFFIXES:
        return _from_picture(read_picture(path), "image")
    if suffix in VIDEO_SUFFIXES:
        frames, rate = read_video(path)
        return _from_picture(frames, "video", rate)
    if suffix == ".wav":
        samples, rate = read_audio(path)
        return Signal("audio", _tensor(samples, 1.0), _AUDIO_RANGE, rate)
    if suffix in (".npy", ".npz"):
        return signal_of(read_array(path), kind)
    if suffix in MESH_SUFFIXES:
        return Shape.of(read_mesh(path))
    known = sorted(
        {*PICTURE_SUFFIXES, *VIDEO_SUFFIXES, *MESH_SUFFIXES, *TABLE_SUFFIXES, *SLICES_SUFFIXES, ".wav", ".npy", ".npz"}
    )
    raise DataError(f"{path} has no suffix of a known format; known are {', '.join(known)}.")
