"""Photos of a painted ellipsoid beside the middle, with alpha: what its outlines and its paint say is known exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

CENTER, RADII = np.array([0.15, -0.1, 0.08]), np.array([0.5, 0.35, 0.42])
_DISTANCE, _FIELD_OF_VIEW, _SAMPLES = 3.0, math.radians(35), 3


def write_ellipsoid_scene(folder: Path, views: int, size: int) -> Path:
    """Writes ``transforms.json`` and square pictures with alpha, cameras spread evenly over a sphere."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for number in range(views):
        pose = _pose(number, views)
        name = f"images/{number:02d}.png"
        Image.fromarray((_picture(pose, size) * 255).round().astype(np.uint8)).save(folder / name)
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    focal = size / 2 / math.tan(_FIELD_OF_VIEW / 2)
    lens = {"fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2, "w": size, "h": size}
    (folder / "transforms.json").write_text(json.dumps({**lens, "aabb_scale": 1, "frames": frames}))
    return folder


def paint(points: np.ndarray) -> np.ndarray:
    """Colours of places in the dataset's frame."""
    return 0.5 + 0.4 * np.sin(9 * points + np.array([0.0, 1.0, 2.0]))


def off_surface(points: np.ndarray) -> np.ndarray:
    """How far places near the ellipsoid are from it, to first order: its level over its slope."""
    scaled = (points - CENTER) / RADII
    length = np.linalg.norm(scaled, axis=-1)
    return np.abs(length - 1) * length / np.linalg.norm(scaled / RADII, axis=-1)


def _pose(number: int, views: int) -> np.ndarray:
    """Camera to world, x right, y up, z towards the viewer, on a spiral from pole to pole."""
    height = 1 - (2 * number + 1) / views
    turn = math.pi * (3 - math.sqrt(5)) * number
    across = math.sqrt(1 - height * height)
    backward = np.array([across * math.cos(turn), across * math.sin(turn), height])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, _DISTANCE * backward], -1)
    return pose


def _picture(pose: np.ndarray, size: int) -> np.ndarray:
    fine = size * _SAMPLES
    places = (np.arange(fine) + 0.5) / fine * 2 - 1
    across, down = np.meshgrid(places, places)
    half = math.tan(_FIELD_OF_VIEW / 2)
    rays = np.stack([across * half, -down * half, -np.ones_like(across)], -1) @ pose[:3, :3].T
    origin, along = (pose[:3, 3] - CENTER) / RADII, rays / RADII
    square, middle = (along * along).sum(-1), (along * origin).sum(-1)
    inner = middle * middle - square * (origin @ origin - 1)
    hit = inner > 0
    reach = (-middle - np.sqrt(np.where(hit, inner, 0))) / square
    colors = paint(pose[:3, 3] + reach[..., None] * rays) * hit[..., None]
    blocks = np.concatenate([colors, hit[..., None]], -1).reshape(size, _SAMPLES, size, _SAMPLES, 4).mean((1, 3))
    covered = blocks[..., 3:] > 0
    blocks[..., :3] = np.where(covered, blocks[..., :3] / np.where(covered, blocks[..., 3:], 1), 0)
    return blocks
