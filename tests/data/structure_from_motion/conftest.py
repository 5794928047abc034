"""A little room rendered by hand: two textured walls and a textured floor, seen from around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0
VIEWS = 12


@dataclass(frozen=True)
class Room:
    """Camera-to-world poses with OpenCV axes, z up, and their pictures."""

    poses: np.ndarray
    pictures: list[np.ndarray]
    focal: float = FOCAL

    def write(self, folder: Path, pattern: str = "{:02d}.png") -> Path:
        """The pictures as plain photos."""
        folder.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(self.pictures):
            Image.fromarray(picture).save(folder / pattern.format(index), quality=95)
        return folder


def texture(seed: int) -> np.ndarray:
    """Blobs of all sizes, 600 x 600 x 3, uint8's range."""
    generator = np.random.default_rng(seed)
    total = np.zeros((600, 600, 3))
    for sigma in (2.0, 4.0, 9.0, 20.0):
        layer = np.stack([gaussian_filter(generator.standard_normal((600, 600)), sigma, mode="wrap")] * 3, axis=-1)
        total += layer / layer.std() * generator.uniform(0.7, 1.3, 3)
    return np.clip(128 + 40 * total, 0, 255)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward, eye], axis=1)


def render(pose: np.ndarray, textures: list[np.ndarray], width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """What a pinhole camera sees of the planes x = -2, y = -2 and z = 0, each textured with 300 texels a unit."""
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([x / FOCAL, y / FOCAL, np.ones_like(x)], axis=-1) @ pose[:, :3].T
    nearest, picture = np.full(x.shape, np.inf), np.full((height, width, 3), 30.0)
    for axis, level in ((0, -2.0), (1, -2.0), (2, 0.0)):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (level - pose[axis, 3]) / rays[..., axis]
        seen = (distance > 0) & (distance < nearest)
        hit = pose[:, 3] + distance[..., None] * rays
        others = [other for other in range(3) if other != axis]
        at = np.nan_to_num(hit[..., others], posinf=0, neginf=0).transpose(2, 0, 1) * 120
        for channel in range(3):
            color = map_coordinates(textures[axis][..., channel], at, order=1, mode="grid-wrap")
            picture[..., channel] = np.where(seen, color, picture[..., channel])
        nearest = np.where(seen, distance, nearest)
    return picture.round().astype(np.uint8)


def make_room(seed: int = 0, views: int = VIEWS) -> Room:
    textures = [texture(seed * 10 + number) for number in range(3)]
    angles = np.radians(np.linspace(15, 75, views))
    heights = 1.2 + 0.5 * np.sin(np.arange(views) * 1.3)
    eyes = np.stack([2.2 * np.cos(angles), 2.2 * np.sin(angles), heights], axis=1)
    poses = np.stack([look_at(eye, np.array([-1.0, -1.0, 0.6])) for eye in eyes])
    return Room(poses, [render(pose, textures) for pose in poses])


@pytest.fixture(scope="session")
def room() -> Room:
    return make_room()


@pytest.fixture(scope="session")
def other_room() -> Room:
    return make_room(seed=7, views=6)
