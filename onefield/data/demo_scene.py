"""A small scene of our own, ray-traced with exact cameras: to try the engine without downloading anything."""

from __future__ import annotations

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from onefield.data.linear_images import srgb_from_linear
from onefield.errors import UsageError
from onefield.files import make_folder, write_atomically

CAMERA_RADIUS = 3.2
FIELD_OF_VIEW = math.radians(42.0)  # the scene lies in a ball of radius 1.14, which fills the picture from there
_LOWEST, _HIGHEST = math.radians(9.0), math.radians(68.0)  # elevations of the cameras
_TEST_EVERY = 8
_SUPERSAMPLES = 2  # a side of each pixel
_LOOKED_AT = (0.0, 0.0, -0.22)
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))

_LIGHT = (0.48, -0.42, 0.77)
_LIGHT_SPREAD = 0.10  # radians, how far the light's disc reaches: soft shadows
_LIGHT_SAMPLES = 10
_KEY = (1.02, 0.97, 0.88)
_SKY = (0.42, 0.46, 0.54)
_BOUNCE = (0.26, 0.22, 0.19)
_REAL = np.float32
_CHUNK = 16384  # rays at once: their tensors stay in the processor's cache
_LEAVE_SURFACE = 1e-4  # where shadow rays start, so that a surface does not shade itself
_TRACE_STEPS, _TRACE_HIT = 96, 2e-5  # sphere tracing of the torus
_OCCLUSION = ((0.04, 0.2), (0.09, 0.15), (0.16, 0.12), (0.26, 0.1))  # step in world units, weight
_SHARPNESS = 48  # of highlights


@dataclass(frozen=True)
class _Shape(ABC):
    """A solid in a frame of its own: exact hits, signed distance, outward normals and a painted surface.

    Attributes:
        center, turns: place, and rotations about z, then x (radians).
        paint: two linear RGB colours.
        stripes: how many bands or squares a unit; 0 paints the first colour only.
        gloss: strength of the highlight.
    """

    center: tuple[float, float, float]
    paint: tuple[tuple[float, float, float], tuple[float, float, float]]
    turns: tuple[float, float] = (0.0, 0.0)
    stripes: float = 0.0
    gloss: float = 0.1

    @abstractmethod
    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distance ``n`` along unit rays in the shape's frame to the first entry, infinite where there is none."""

    @abstractmethod
    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance ``n`` in the shape's frame, negative inside."""

    @abstractmethod
    def normal(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals ``3 n`` at points on the surface, in the shape's frame."""

    def pattern(self, points: np.ndarray) -> np.ndarray:
        """Which of the two colours: bands across z by default."""
        return np.floor(points[2] * self.stripes) % 2

    def rotation(self) -> np.ndarray:
        """Columns are the shape's axes in the world."""
        (cz, sz), (cx, sx) = ((math.cos(angle), math.sin(angle)) for angle in self.turns)
        about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
        about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
        return (about_z @ about_x).astype(_REAL)

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """World points in the shape's frame."""
        return self.rotation().T @ (points - _column(self.center))

    def albedo(self, local: np.ndarray) -> np.ndarray:
        """Linear RGB ``3 n`` at points of the shape's frame."""
        first, second = (_column(color) for color in self.paint)
        if not self.stripes:
            return np.broadcast_to(first, local.shape)
        return first + (second - first) * self.pattern(local)


@dataclass(frozen=True)
class _Sphere(_Shape):
    radius: float = 1.0

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        middle = -_dot(origins, directions)
        inside = middle**2 - _dot(origins, origins) + self.radius**2
        entry = middle - np.sqrt(inside.clip(min=0))
        return np.where((inside > 0) & (entry > 0), entry, np.inf)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return _length(points) - self.radius

    def normal(self, points: np.ndarray) -> np.ndarray:
        return points / self.radius


@dataclass(frozen=True)
class _Box(_Shape):
    half: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        half = _column(self.half)
        one, two = (-half - origins) / directions, (half - origins) / directions
        entry = np.minimum(one, two).max(0)
        leave = np.maximum(one, two).min(0)
        return np.where((entry < leave) & (entry > 0), entry, np.inf)

    def distance(self, points: np.ndarray) -> np.ndarray:
        beyond = np.abs(points) - _column(self.half)
        return _length(beyond.clip(min=0)) + beyond.max(0).clip(max=0)

    def normal(self, points: np.ndarray) -> np.ndarray:
        side = (np.abs(points) - _column(self.half)).argmax(0)
        return (np.arange(3)[:, None] == side) * np.sign(points)

    def pattern(self, points: np.ndarray) -> np.ndarray:
        return np.floor(points.sum(0) * self.stripes) % 2


@dataclass(frozen=True)
class _Cylinder(_Shape):
    """Upright along its z axis, with caps; chequered."""

    radius: float = 1.0
    half_height: float = 1.0

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        across, along = _dot(directions[:2], directions[:2]), _dot(origins[:2], directions[:2])
        inside = along**2 - across * (_dot(origins[:2], origins[:2]) - self.radius**2)
        root = np.sqrt(inside.clip(min=0))
        one, two = ((sign * self.half_height - origins[2]) / directions[2] for sign in (-1, 1))
        # a vertical ray has across = 0: 0/0 and 1/0 give nan and inf, which fmax, fmin and < take as they should
        entry = np.fmax((-along - root) / across, np.minimum(one, two))
        leave = np.fmin((-along + root) / across, np.maximum(one, two))
        return np.where((inside > 0) & (entry < leave) & (entry > 0), entry, np.inf)

    def distance(self, points: np.ndarray) -> np.ndarray:
        beyond = np.stack([_length(points[:2]) - self.radius, np.abs(points[2]) - self.half_height])
        return _length(beyond.clip(min=0)) + beyond.max(0).clip(max=0)

    def normal(self, points: np.ndarray) -> np.ndarray:
        on_cap = np.abs(points[2]) - self.half_height > _length(points[:2]) - self.radius
        x, y = points[:2] / self.radius
        return np.where(on_cap, np.stack([0 * x, 0 * x, np.sign(points[2])]), np.stack([x, y, 0 * x]))

    def pattern(self, points: np.ndarray) -> np.ndarray:
        return np.floor(points[:2] * self.stripes).sum(0) % 2


@dataclass(frozen=True)
class _Torus(_Shape):
    """Around its z axis."""

    radius: float = 1.0
    tube: float = 0.3

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Sphere-traced inside the ball that holds the torus."""
        middle = -_dot(origins, directions)
        chord = middle**2 - _dot(origins, origins) + (self.radius + self.tube) ** 2
        found = np.full_like(middle, np.inf)
        (near,) = np.nonzero((chord > 0) & (middle + np.sqrt(chord.clip(min=0)) > 0))
        root = np.sqrt(chord[near])
        travelled, last = (middle[near] - root).clip(min=0), middle[near] + root
        for _ in range(_TRACE_STEPS):
            gap = self.distance(origins[:, near] + travelled * directions[:, near])
            arrived = gap < _TRACE_HIT
            found[near[arrived]] = travelled[arrived]
            travelled = travelled + gap
            still = ~arrived & (travelled < last)
            near, travelled, last = near[still], travelled[still], last[still]
        return found

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.hypot(_length(points[:2]) - self.radius, points[2]) - self.tube

    def normal(self, points: np.ndarray) -> np.ndarray:
        ring = self.radius * points[:2] / _length(points[:2])
        return _unit(points - np.stack([*ring, 0 * ring[0]]))

    def pattern(self, points: np.ndarray) -> np.ndarray:
        return np.floor(np.arctan2(points[1], points[0]) / (2 * math.pi) * self.stripes) % 2


_SHAPES: tuple[_Shape, ...] = (
    _Cylinder((0.0, 0.0, -0.56), ((0.80, 0.74, 0.62), (0.16, 0.19, 0.26)), (0.4, 0.0), 3.2, 0.05, 0.96, 0.07),
    _Sphere((-0.30, 0.30, -0.12), ((0.86, 0.19, 0.11), (0.86, 0.19, 0.11)), gloss=0.45, radius=0.37),
    _Box((0.42, 0.36, -0.21), ((0.05, 0.28, 0.62), (0.55, 0.74, 0.90)), (0.55, 0.0), 5.5, 0.08, (0.2, 0.2, 0.28)),
    _Torus((0.22, -0.38, -0.2022), ((0.93, 0.60, 0.08), (0.93, 0.60, 0.08)), (0.5, 1.1), 0.0, 0.40, 0.24, 0.09),
    _Sphere((-0.46, -0.36, -0.30), ((0.08, 0.46, 0.20), (0.78, 0.86, 0.62)), (0.7, 0.6), 9.0, 0.25, radius=0.19),
    _Sphere((0.42, 0.36, 0.20), ((0.45, 0.14, 0.52), (0.45, 0.14, 0.52)), gloss=0.40, radius=0.13),
)


def demo_distance(points: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b"]:
    """Signed distance to the demo scene's solids in world units: exact outside, and of the right sign inside."""
    return _nearest(points.reshape(-1, 3).T).reshape(points.shape[:-1])


def demo_cameras(views: int) -> Float[np.ndarray, "views 4 4"]:
    """Camera-to-world poses spread evenly over the dome; x right, y up, z towards the viewer; float64."""
    index = np.arange(views)
    low, high = math.sin(_LOWEST), math.sin(_HIGHEST)
    rise = low + (high - low) * (index + 0.5) / views
    turn = index * _GOLDEN_ANGLE
    flat = np.sqrt(1 - rise**2)
    backward = np.stack([flat * np.cos(turn), flat * np.sin(turn), rise], -1)
    right = np.stack([-np.sin(turn), np.cos(turn), np.zeros(views)], -1)
    up = np.cross(backward, right)
    poses = np.tile(np.eye(4), (views, 1, 1))
    poses[:, :3, :] = np.stack([right, up, backward, np.array(_LOOKED_AT) + CAMERA_RADIUS * backward], -1)
    return poses


def render_demo(pose: Float[np.ndarray, "4 4"], size: int) -> Float[np.ndarray, "size size 4"]:
    """Ray-traces one view: straight RGBA in [0, 1], sRGB, float32; each pixel is the mean of its samples.

    Args:
        pose: camera-to-world; x right, y up, z towards the viewer.
        size: height and width in pixels.
    """
    fine = size * _SUPERSAMPLES
    ticks = (np.arange(fine) + 0.5) / fine * 2 - 1
    y, x = np.meshgrid(-ticks, ticks, indexing="ij")
    slope = math.tan(FIELD_OF_VIEW / 2)
    eye = np.stack([x * slope, y * slope, -np.ones_like(x)]).reshape(3, -1)
    directions = _unit(pose[:3, :3] @ eye).astype(_REAL)
    origin = _column(pose[:3, 3])
    parts = np.array_split(directions, max(1, directions.shape[1] // _CHUNK), axis=1)
    # rays along an axis divide by zero on their way to the right answer
    with np.errstate(divide="ignore", invalid="ignore"):
        traced = np.concatenate([_trace(np.broadcast_to(origin, part.shape), part) for part in parts], axis=1)
    mean = traced.reshape(4, size, _SUPERSAMPLES, size, _SUPERSAMPLES).mean((2, 4))
    # a pixel that nothing covers has the sum 0, and stays black
    straight = mean[:3] / np.where(mean[3] > 0, mean[3], 1.0)
    return np.stack([*srgb_from_linear(straight.clip(0, 1)), mean[3]], -1).astype(np.float32)


def demo_depth(pose: Float[np.ndarray, "4 4"], size: int) -> Float[np.ndarray, "size size"]:
    """Depth along the camera's axis at the middles of pixels, infinite where nothing stands.

    Args:
        pose, size: as in `render_demo`.
    """
    ticks = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(-ticks, ticks, indexing="ij")
    slope = math.tan(FIELD_OF_VIEW / 2)
    eye = np.stack([x * slope, y * slope, -np.ones_like(x)]).reshape(3, -1)
    directions = _unit(pose[:3, :3] @ eye).astype(_REAL)
    origins = np.broadcast_to(_column(pose[:3, 3]), directions.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = _first_hits(origins, directions)[0]
    return (distances / _length(eye)).reshape(size, size)


def write_demo_scene(folder: str | Path, *, views: int = 40, size: int = 144) -> Path:
    """Writes the scene as a Blender-style data set: ``transforms_train.json``, ``transforms_test.json``, RGBA PNGs.

    Every eighth view is for testing.

    Args:
        folder: made where missing.
        views: how many pictures, train and test together; at least 8.
        size: height and width of the pictures in pixels.

    Raises:
        UsageError: too few views, or no pixels.
        ResourceError: the folder can't be written.
    """
    if views < _TEST_EVERY or size < 1:
        raise UsageError(f"The demo scene needs at least {_TEST_EVERY} views and 1 pixel, got {views} and {size}.")
    folder = make_folder(folder)
    poses, pictures = demo_cameras(views), {}
    for split in ("train", "test"):
        chosen = [i for i in range(views) if (i % _TEST_EVERY == _TEST_EVERY // 2) == (split == "test")]
        make_folder(folder / split)
        frames = []
        for number, view in enumerate(chosen):
            name = f"{split}/r_{number:03d}"
            pictures[folder / f"{name}.png"] = poses[view]
            frames.append({"file_path": f"./{name}", "transform_matrix": poses[view].tolist()})
        document = {"camera_angle_x": FIELD_OF_VIEW, "frames": frames}
        write_atomically(folder / f"transforms_{split}.json", json.dumps(document, indent=1).encode())
    with ThreadPoolExecutor() as threads:  # array operations let go of the interpreter
        list(threads.map(lambda item: write_atomically(item[0], _png(render_demo(item[1], size))), pictures.items()))
    return folder


def _column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=_REAL)[:, None]


def _dot(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.einsum("kn,kn->n", one, two)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(_dot(vectors, vectors))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / _length(vectors)


def _nearest(points: np.ndarray) -> np.ndarray:
    return np.min([shape.distance(shape.to_local(points)) for shape in _SHAPES], axis=0)


def _trace(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Linear RGB and whether something was hit, ``4 n``."""
    traced = np.zeros((4, directions.shape[1]), dtype=_REAL)
    travelled, which = _first_hits(origins, directions)
    (covered,) = np.nonzero(np.isfinite(travelled))
    points = origins[:, covered] + travelled[covered] * directions[:, covered]
    traced[:3, covered] = _shade(points, directions[:, covered], which[covered])
    traced[3, covered] = 1.0
    return traced


def _first_hits(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the first solid (infinite: none), and which it is."""
    hits = np.stack([shape.hit(shape.to_local(origins), shape.rotation().T @ directions) for shape in _SHAPES])
    which = hits.argmin(0)
    return np.take_along_axis(hits, which[None], 0)[0], which


def _shade(points: np.ndarray, directions: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Linear RGB of lit surface points: sky and bounce by the normal, one soft sun, a highlight."""
    normals, albedo, gloss = np.empty_like(points), np.empty_like(points), np.empty_like(points[0])
    for index, shape in enumerate(_SHAPES):
        mine = which == index
        local = shape.to_local(points[:, mine])
        normals[:, mine] = shape.rotation() @ shape.normal(local)
        albedo[:, mine] = shape.albedo(local)
        gloss[mine] = shape.gloss
    light = _unit(_column(_LIGHT))
    visible = _visibility(points, normals, light)
    facing = _dot(normals, light).clip(min=0) * visible
    ambient = _column(_BOUNCE) + (_column(_SKY) - _column(_BOUNCE)) * (normals[2] + 1) / 2
    ambient = ambient * _openness(points, normals)
    highlight = gloss * visible * _dot(normals, _unit(light - directions)).clip(min=0) ** _SHARPNESS
    return albedo * (ambient + _column(_KEY) * facing) + highlight


def _visibility(points: np.ndarray, normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """How much of the light's disc each point sees, in [0, 1]."""
    (lit,) = np.nonzero(_dot(normals, light) > 0)
    side = _unit(np.cross(light, _column((0.0, 0.0, 1.0)), axis=0))
    other = np.cross(light, side, axis=0)
    start = points[:, lit] + _LEAVE_SURFACE * normals[:, lit]
    visible = np.zeros_like(points[0])
    for index in range(_LIGHT_SAMPLES):
        reach = _LIGHT_SPREAD * math.sqrt((index + 0.5) / _LIGHT_SAMPLES)
        offset = reach * (math.cos(index * _GOLDEN_ANGLE) * side + math.sin(index * _GOLDEN_ANGLE) * other)
        towards = np.broadcast_to(_unit(light + offset), start.shape)
        visible[lit] += np.isinf(_first_hits(start, towards)[0]) / _LIGHT_SAMPLES
    return visible


def _openness(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """How free of near surfaces the side of the normal is, in [0, 1]: compares steps out with the distances there."""
    closed = sum(weight * (1 - _nearest(points + step * normals) / step) for step, weight in _OCCLUSION)
    return (1 - closed).clip(0, 1)


def _png(picture: Float[np.ndarray, "h w 4"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()
