"""Three views of the demo scene with depth that is true only up to a scale and an offset a view, and exact flow."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from onefield.data.demo_scene import CAMERA_RADIUS, FIELD_OF_VIEW, demo_depth, render_demo

SCALES, OFFSETS = (0.6, 1.7, 1.1), (0.5, -0.8, 0.2)
"""With which the files' depth becomes the true one: ``true = scale * file + offset``, in the dataset's units."""
_TURNS, _RISE = (-12.0, 0.0, 12.0, -6.0), 35.0


def rig() -> list[np.ndarray]:
    """Poses side by side, x right, y up, z towards the viewer; the last is for testing."""
    poses = []
    for turn in np.radians(_TURNS):
        rise = math.radians(_RISE)
        backward = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
        right = np.array([-math.sin(turn), math.cos(turn), 0.0])
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(backward, right), backward, CAMERA_RADIUS * backward], -1)
        poses.append(pose)
    return poses


def write_sparse_scene(folder: Path, size: int, depth: bool = True, flow: bool = True) -> Path:
    """Writes ``transforms.json`` with pictures, depth and ``flow/``."""
    for name in ("images", "depth", "flow"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    poses, names = rig(), ["left", "middle", "right", "test"]
    depths = [demo_depth(pose, size) for pose in poses]
    frames = []
    for number, (name, pose) in enumerate(zip(names, poses, strict=True)):
        Image.fromarray((render_demo(pose, size) * 255).round().astype(np.uint8)).save(folder / f"images/{name}.png")
        frame = {"file_path": f"images/{name}.png", "transform_matrix": pose.tolist()}
        if depth and number < 3:
            given = (depths[number] - OFFSETS[number]) / SCALES[number]
            np.save(folder / f"depth/{name}.npy", np.where(np.isfinite(given), given, 0).astype(np.float32))
            frame["depth_file_path"] = f"depth/{name}.npy"
        frames.append(frame)
    for first in range(3 if flow else 0):
        for second in range(3):
            if first != second:
                moved, valid = exact_flow(depths, poses, first, second)
                np.savez(folder / f"flow/{names[first]}--{names[second]}.npz", flow=moved, valid=valid)
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    lens = {"fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2, "w": size, "h": size}
    splits = {"train_filenames": [f"images/{name}.png" for name in names[:3]], "test_filenames": ["images/test.png"]}
    scene = {**lens, **splits, "aabb_scale": 1, "depth_unit_scale_factor": 1.0, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(scene))
    return folder


def exact_flow(
    depths: list[np.ndarray], poses: list[np.ndarray], first: int, second: int
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in pixels, and where both views see the point."""
    size = len(depths[0])
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    depth = np.where(np.isfinite(depths[first]), depths[first], 1.0)
    local = (
        np.stack([(columns - size / 2) / focal, -(rows - size / 2) / focal, -np.ones_like(rows)], -1) * depth[..., None]
    )
    world = local @ poses[first][:3, :3].T + poses[first][:3, 3]
    seen = (world - poses[second][:3, 3]) @ poses[second][:3, :3]
    there = np.stack(
        [size / 2 - focal * seen[..., 0] / seen[..., 2], size / 2 + focal * seen[..., 1] / seen[..., 2]], -1
    )
    place = np.clip(there.astype(int), 0, size - 1)
    same = np.abs(depths[second][place[..., 1], place[..., 0]] + seen[..., 2]) < 0.03
    inside = ((there >= 0) & (there < size)).all(-1)
    return (there - np.stack([columns, rows], -1)).astype(np.float32), np.isfinite(depths[first]) & same & inside
