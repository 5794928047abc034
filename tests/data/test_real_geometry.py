"""Real datasets agree with their own evidence: what each image observed, and where silhouettes intersect."""

import struct

import numpy as np
import pytest
import torch

from onefield.cameras import Cameras
from onefield.data.colmap import _intrinsics as colmap_intrinsics
from onefield.data.colmap_files import read_model
from onefield.data.formats import load_scene


def observations(file) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Image number, pixels and point identifiers, straight from the bytes of images.bin."""
    content = file.read_bytes()
    (count,) = struct.unpack_from("<Q", content)
    offset, found = 8, []
    for image in range(count):
        offset = content.index(b"\0", offset + 64) + 1
        (length,) = struct.unpack_from("<Q", content, offset)
        rows = np.frombuffer(content, np.dtype("<f8,<f8,<i8"), length, offset + 8)
        offset += 8 + 24 * length
        seen = rows["f2"] >= 0
        found.append((image, np.stack([rows["f0"], rows["f1"]], axis=1)[seen], rows["f2"][seen]))
    return found


def point_identifiers(file) -> np.ndarray:
    content = file.read_bytes()
    (count,) = struct.unpack_from("<Q", content)
    offset, identifiers = 8, []
    for _ in range(count):
        identifiers.append(struct.unpack_from("<Q", content, offset)[0])
        offset += 51 + 8 * struct.unpack_from("<Q", content, offset + 43)[0]
    return np.array(identifiers)


@pytest.mark.parametrize(("name", "median"), [("sparse", 0.245), ("sparse_distorted", 0.741)])
def test_reprojection_of_every_observation(data_folder, name, median):
    """Median distances as measured with another program."""
    folder = data_folder / "colmap" / "monk" / name / "0"
    model = read_model(folder)
    places = {identifier: row for row, identifier in enumerate(point_identifiers(folder / "points3D.bin"))}
    errors = []
    for image, pixels, seen in observations(folder / "images.bin"):
        record = model.images[image]
        focal, center, distortion, fisheye = colmap_intrinsics(model.cameras[record.camera], "test")
        w, x, y, z = record.quaternion
        # Rodrigues' form of a quaternion: R v = v + 2 w (q x v) + 2 q x (q x v).
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
        pose = np.concatenate([rotation.T, -rotation.T @ np.array(record.translation)[:, None]], axis=1)
        camera = Cameras.pinhole(torch.from_numpy(pose).unsqueeze(0), focal, center, 1, 1)
        camera = Cameras(
            camera.camera_to_world, camera.focal, camera.center, camera.width, camera.height,
            torch.tensor([distortion], dtype=torch.float64), torch.tensor([fisheye]),
        )  # fmt: skip
        points = model.points[[places[identifier] for identifier in seen]]
        projected, _ = camera.project(torch.tensor(0), torch.from_numpy(points))
        errors.append(np.linalg.norm(projected.numpy() - pixels, axis=1))
    assert abs(float(np.median(np.concatenate(errors))) - median) < 0.01


@pytest.mark.parametrize("name", ["nerf_synthetic/lego", "dtu/scan65", "synthetic/spot_plain"])
def test_silhouettes_intersect_in_the_region_of_interest(data_folder, name):
    """The visual hull of some views, carved in [-1, 1]^3, fills the silhouettes of others."""
    scene = load_scene(data_folder / name)
    axis = (torch.arange(32) + 0.5) / 16 - 1
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    count = len(scene.train_indices)
    chosen = scene.train_indices[torch.linspace(0, count - 1, 16).long()]
    inside = torch.ones(len(points), dtype=torch.bool)
    for view in chosen[:12]:
        inside &= covered(scene, view, points)
    hull = points[inside]
    assert 0.005 < len(hull) / len(points) < 0.3
    for view in chosen[12:]:
        # Most of the hull also lies within silhouettes that didn't carve it.
        assert covered(scene, view, hull).double().mean() > 0.85
        # And it covers those silhouettes, as far as its coarse voxels reach.
        alpha = scene.images.image(int(view))[..., 3] > 0.5
        pixels, _ = scene.cameras.project(view, hull)
        cell = max(alpha.shape) // 16
        coarse = torch.zeros(alpha.shape[0] // cell + 1, alpha.shape[1] // cell + 1, dtype=torch.bool)
        column, row = (pixels / cell).long().unbind(-1)
        coarse[row.clamp(0, coarse.shape[0] - 1), column.clamp(0, coarse.shape[1] - 1)] = True
        y, x = torch.nonzero(alpha, as_tuple=True)
        assert coarse[y // cell, x // cell].double().mean() > 0.85


def covered(scene, view: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Which points fall on the silhouette of a view."""
    alpha = scene.images.image(int(view))[..., 3] > 0.5
    pixels, depth = scene.cameras.project(view, points)
    column, row = pixels.floor().long().unbind(-1)
    visible = (column >= 0) & (column < alpha.shape[1]) & (row >= 0) & (row < alpha.shape[0]) & (depth > 0)
    return visible & alpha[row.clamp(0, alpha.shape[0] - 1), column.clamp(0, alpha.shape[1] - 1)]
