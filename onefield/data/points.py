"""A cloud of points on a surface, made fit for finding that surface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.arrays import load_npy, npy_shape
from onefield.data.point_files import read_point_cloud
from onefield.errors import DataError
from onefield.types import Bounds, PointCloud

# Text files of points, one a line: position and, where there are six numbers, normal.
TABLE_SUFFIXES = (".xyz",)
# A closed surface of fewer points is guesswork.
FEWEST = 50
# More are thinned out: a grid of 256 cells a side can't tell them apart.
MOST = 1_000_000
# Of colours in 8 bits.
_BRIGHTEST = 255
# Room around the cloud, as a part of its longest side.
_MARGIN = 0.1
# A cloud is flat when it is thinner than this part of its longest side.
_FLAT = 1e-4
# Squares of distances beyond these do not fit single precision.
_SMALLEST, _LARGEST = 1e-18, 1e18
# Coordinates in single precision lose digits when the cloud is farther from the origin than so many of its sides.
_FAR = 100.0


@dataclass(frozen=True)
class Points:
    """Points of a surface, each once, all finite.

    Attributes:
        cloud: positions less `origin`, float32, in the file's unit; unit normals where the file has them for all.
        domain: the cube about the cloud, with a tenth of its side to spare all round.
        origin: what was taken off the positions, so that single precision holds those far from zero.
        notes: a sentence for each thing that was left out.
        name: of the cloud in messages.
    """

    cloud: PointCloud
    domain: Bounds
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    notes: tuple[str, ...] = ()
    kind: str = "points"
    name: str = "The cloud"

    @staticmethod
    def of(cloud: PointCloud, name: str = "The cloud") -> Points:
        """Leaves out what is no point, thins out more than `MOST`, and merges copies.

        Args:
            cloud: positions in any unit; normals of any length.
            name: of the cloud in messages.

        Raises:
            DataError: fewer than `FEWEST` points are left, or all of them lie on a line or one spot.
        """
        positions = cloud.points.detach().cpu().double().numpy()
        normals = None if cloud.normals is None else cloud.normals.detach().cpu().float().numpy()
        notes: list[str] = []
        kept = np.isfinite(positions).all(1)
        if not kept.all():
            notes.append(f"{(~kept).sum():,} of {len(kept):,} points are not finite and were left out.")
            positions, normals = positions[kept], None if normals is None else normals[kept]
        if len(positions) > MOST:
            notes.append(f"Of {len(positions):,} points {MOST:,}, picked evenly at random, were taken.")
            picked = np.sort(np.random.default_rng(0).permutation(len(positions))[:MOST])
            positions, normals = positions[picked], None if normals is None else normals[picked]
        _, first = np.unique(positions, axis=0, return_index=True)
        if len(first) < len(positions):
            notes.append(f"{len(positions) - len(first):,} of {len(positions):,} points are copies and were left out.")
            first.sort()
            positions, normals = positions[first], None if normals is None else normals[first]
        if len(positions) < FEWEST:
            raise DataError(f"{name} has {len(positions)} distinct points; a surface needs at least {FEWEST}.")
        low, high = positions.min(0), positions.max(0)
        if not _SMALLEST < (high - low).max() < _LARGEST:
            raise DataError(f"{name} spans {(high - low).max():.3g} units, beyond measure; give it in another unit.")
        if _spans(positions)[1] <= _FLAT * _spans(positions)[2]:
            raise DataError(f"{name} has all its points on a line, which is no surface; give points all over one.")
        side = (high - low).max()
        origin = (low + high) / 2 if np.abs(positions).max() > _FAR * side else np.zeros(3)
        center, half = (low + high) / 2 - origin, side * (0.5 + _MARGIN)
        domain = Bounds(tuple((center - half).tolist()), tuple((center + half).tolist()))
        checked = _checked_normals(normals, notes)
        kept_cloud = PointCloud(torch.from_numpy(positions - origin).float(), None, checked)
        x, y, z = origin.tolist()
        return Points(kept_cloud, domain, (x, y, z), tuple(notes), name=name)

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"cloud of {len(self.cloud.points):,} points, {'no ' * (self.cloud.normals is None)}normals"

    @property
    def scale(self) -> float:
        """Side of the domain, in the cloud's unit."""
        return self.domain.extent[0]

    @property
    def diagonal(self) -> float:
        """Of the cloud's box, in its unit."""
        return float((self.cloud.points.amax(0) - self.cloud.points.amin(0)).norm())

    def check_solid(self) -> None:
        """Refuses what has no inside.

        Raises:
            DataError: all points lie on a plane.
        """
        thinnest, _, longest = _spans(self.cloud.points.double().numpy())
        if thinnest <= _FLAT * longest:
            raise DataError(
                f"{self.name} has all its points on a plane, which encloses no volume; give points from all sides, or "
                "take the field 'csp', whose surfaces may be open."
            )

    def with_normals(self, normals: Float[Tensor, "N 3"], *notes: str) -> Points:
        """The same points with other normals, and more notes."""
        return replace(self, cloud=replace(self.cloud, normals=normals), notes=(*self.notes, *notes))


def is_point_file(path: Path) -> bool:
    """A text file of points, a table of 3 or 6 columns in ``.npy``, or a PLY file without faces, by a cheap look."""
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return True
    if suffix == ".npy":
        try:
            shape = npy_shape(path)
        except DataError:
            return False
        return len(shape) == 2 and shape[1] in (3, 6) and shape[0] > shape[1]
    if suffix != ".ply":
        return False
    with path.open("rb") as file:
        head = file.read(1 << 16).split(b"end_header")[0]
    counts = [line.split() for line in head.splitlines() if line.startswith(b"element face")]
    return not any(words[-1] != b"0" for words in counts)


def load_points(path: str | Path) -> Points:
    """Points from PLY, a text file (position and optional normal a line) or ``.npy`` of shape N x 3 or N x 6.

    Whole numbers from 0 to 255 in the place of normals are colours, as scanners write them, and are left out.

    Raises:
        DataError: unreadable, or no cloud that a surface can be found for; the message names the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".ply":
        return Points.of(read_point_cloud(path), str(path))
    table = load_npy(path) if suffix == ".npy" else _read_table(path)
    if table.ndim != 2 or table.shape[1] not in (3, 6):
        raise DataError(f"{path} has shape {table.shape}; points need 3 columns, or 6 with normals.")
    positions = torch.from_numpy(np.array(table[:, :3], dtype=np.float64))
    if table.shape[1] == 3:
        return Points.of(PointCloud(positions), str(path))
    others = np.array(table[:, 3:], dtype=np.float32)
    if _are_colors(others):
        points = Points.of(PointCloud(positions), str(path))
        return replace(points, notes=("The last three columns are colours and were left out.", *points.notes))
    return Points.of(PointCloud(positions, None, torch.from_numpy(others)), str(path))


def _are_colors(columns: np.ndarray) -> bool:
    """Whole numbers of 8 bits; normals of a surface are hardly ever whole, and point below zero, too."""
    return bool((columns == np.round(columns)).all() and columns.min() >= 0 and 1 < columns.max() <= _BRIGHTEST)


def _read_table(path: Path) -> np.ndarray:
    try:
        if not path.stat().st_size:
            raise DataError(f"{path} is empty; a file of points has three or six numbers a line.")
        return np.loadtxt(path, dtype=np.float64, ndmin=2, comments=("#", "//"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text; a file of points has three or six numbers a line.") from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path}: {reason}; a file of points has three or six numbers a line.") from error


def _spans(positions: np.ndarray) -> np.ndarray:
    """Along the principal axes, ascending."""
    centered = positions - positions.mean(0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    return np.sort(np.ptp(centered @ axes, axis=0))


def _checked_normals(normals: np.ndarray | None, notes: list[str]) -> Tensor | None:
    """Unit normals, or None, with a note, where not each point has one."""
    if normals is None:
        return None
    length = np.linalg.norm(normals, axis=1)
    broken = ~np.isfinite(length) | (length == 0)
    if broken.any():
        notes.append(f"{broken.sum():,} normals have no direction, so all normals are estimated from the points.")
        return None
    return torch.from_numpy(normals / length[:, None])
