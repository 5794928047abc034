"""Runs of a fixed number of steps on scenes that are changed in memory: what the benchmarks of photos share.

A number of steps rather than a time, so that other work on the machine does not change the figures.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from onefield.cameras import Cameras
from onefield.configs.presets import AUTO
from onefield.configs.runs import configure
from onefield.data.scene import Scene, Similarity
from onefield.training.appearance import build_appearance
from onefield.training.evaluation import evaluate
from onefield.training.loop import take_step
from onefield.training.method import Method
from onefield.training.poses import PoseRefinement
from onefield.training.state import TrainingState


@dataclass(frozen=True)
class ShortRun:
    """A trained method, its steps, and the seconds that they took."""

    method: Method
    steps: int
    seconds: float


def train(scene: Scene, steps: int, changes: list[str], method: str = AUTO) -> ShortRun:
    """Trains a preset, or the one that the scene gets by itself, with changes such as ``refine_poses=true``."""
    built = configure(scene.path, method, steps=steps, changes=changes).method.build(scene)
    state = TrainingState.begin(built, built.batches(scene, scene.train_indices, built.settings.seed))
    began = time.monotonic()
    while state.progress < 1:
        take_step(state)
    return ShortRun(built, state.step, time.monotonic() - began)


def some_held_out(scene: Scene, views: int) -> Scene:
    """The scene with at most so many of its held-out views, at even steps."""
    held_out = scene.test_indices
    return replace(scene, test_indices=held_out[:: max(1, -(-len(held_out) // views))])


def whole_pictures(run: ShortRun, scene: Scene) -> dict[str, float]:
    """Scores of the held-out views as the field shows them, without any correction."""
    plain = replace(run.method, poses=None, appearance=None)
    return _figures(plain, scene)


def right_halves(run: ShortRun, scene: Scene, *, poses: bool = False, colors: bool = False) -> dict[str, float]:
    """Scores of the right halves of the held-out views, after poses or colours were fitted to their left halves.

    Runs that did not correct them are fitted by the same means, so that their figures can be held against the others'.
    """
    method = replace(run.method, poses=None, appearance=None)
    if poses:
        method = replace(method, poses=run.method.poses or PoseRefinement(scene.cameras, scene.train_indices))
    if colors:
        fresh = build_appearance("exposure", len(scene), scene.train_indices, scene.alpha)
        method = replace(method, appearance=run.method.appearance or fresh)
    return _figures(method, scene)


def _figures(method: Method, scene: Scene) -> dict[str, float]:
    summary = evaluate(method, scene).summary()
    return {name: round(summary[name], digits) for name, digits in (("psnr", 2), ("ssim", 4))}


def similarity_between(found: Cameras, truth: Cameras) -> Similarity:
    """The one that brings the centres of cameras closest to the true ones (Umeyama 1991)."""
    centers, wanted = found.positions.numpy(), truth.positions.numpy()
    mean, target = centers.mean(0), wanted.mean(0)
    turn, _ = Rotation.align_vectors(wanted - target, centers - mean)
    rotation = turn.as_matrix()
    moved = (centers - mean) @ rotation.T
    scale = float(np.sum(moved * (wanted - target)) / np.sum(moved * moved))
    return Similarity(scale, torch.from_numpy(rotation), torch.from_numpy(target - scale * rotation @ mean))


def aligned(found: Cameras, truth: Cameras) -> Cameras:
    """Cameras moved by the similarity that brings their centres closest to the true ones."""
    return similarity_between(found, truth).apply_cameras(found)


def pose_errors(found: Cameras, truth: Cameras) -> dict[str, float]:
    """Mean errors of aligned poses: degrees, and per cent of the side of the region of interest (2)."""
    cameras = aligned(found, truth)
    turns = Rotation.from_matrix(cameras.camera_to_world[:, :, :3].numpy()).inv() * Rotation.from_matrix(
        truth.camera_to_world[:, :, :3].numpy()
    )
    shifts = (cameras.positions - truth.positions).norm(dim=1)
    return {
        "degrees": round(float(np.degrees(turns.magnitude()).mean()), 3),
        "percent": round(float(shifts.mean()) / 2 * 100, 3),
    }


def tell(**figures: object) -> None:
    """One line of JSON."""
    print(json.dumps(figures), flush=True)
