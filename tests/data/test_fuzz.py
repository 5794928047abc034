"""Every loader on damaged files: a sentence or a sound scene, never anything else."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.errors import OnefieldError

# No shrinking: a failure is rare, and its example is printed with its position. ONEFIELD_FUZZ_EXAMPLES asks for a
# longer search than the ordinary run's.
FUZZ = settings(
    max_examples=int(os.environ.get("ONEFIELD_FUZZ_EXAMPLES", "80")),
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
CAMERA_FILES = {
    "ngp": "transforms.json",
    "nerfstudio": "transforms.json",
    "blender": "transforms_train.json",
    "llff": "poses_bounds.npy",
    "dtu": "cameras_sphere.npz",
    "cameras.bin": "sparse/0/cameras.bin",
    "images.bin": "sparse/0/images.bin",
    "points3D.bin": "sparse/0/points3D.bin",
    "cameras.txt": "sparse/0/cameras.txt",
    "images.txt": "sparse/0/images.txt",
    "points3D.txt": "sparse/0/points3D.txt",
    "points.ply": "points.ply",
    "picture": "images/001.png",
    "polycam": "keyframes/corrected_cameras/17001.json",
    "record3d": "metadata.json",
    "metashape": "cameras.xml",
    "realityscan": "cameras.csv",
    "scannet": "pose/1.txt",
    "intrinsic_color.txt": "intrinsic/intrinsic_color.txt",
    "replica": "traj.txt",
    "cam_params.json": "cam_params.json",
}


@pytest.fixture(scope="module")
def sound(synthetic, tmp_path_factory) -> Iterator[dict[str, Path]]:
    """A valid dataset for each kind of file."""
    folders = {}
    for name in CAMERA_FILES:
        folder = folders[name] = tmp_path_factory.mktemp(name.replace(".", "_"))
        written = {"bin": "colmap_binary", "txt": "colmap_text", "ply": "nerfstudio"}
        written = written.get(name.rsplit(".", 1)[-1], "ngp")
        synthetic.write(name if name in synthetic.formats else PARTS.get(name, written), folder)
    yield folders
    for folder in folders.values():
        shutil.rmtree(folder)


PARTS = {"intrinsic_color.txt": "scannet", "cam_params.json": "replica"}


def load_whatever(folder: Path) -> None:
    """Loads and checks what promises a scene makes; errors of the project's own are fine."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            scene = load_scene(folder)
            assert_sound(scene)
            scene.images.gather_flat(range(len(scene)))
    except OnefieldError:
        return


def assert_sound(scene: Scene) -> None:
    cameras = scene.cameras
    assert len(scene) >= 3
    for numbers in (cameras.camera_to_world, cameras.focal, cameras.center, cameras.distortion, scene.transform.matrix):
        assert torch.isfinite(numbers).all()
    rotations = cameras.camera_to_world[:, :, :3]
    assert (rotations @ rotations.mT - torch.eye(3)).abs().max() < 1e-6
    assert scene.transform.scale > 0
    assert bool((cameras.focal > 0).all())
    assert 1.0 <= scene.extent_scale <= 128.0
    if scene.points is not None:
        assert torch.isfinite(scene.points.points).all()
    rays = cameras.image_rays(0)
    assert torch.isfinite(rays.directions).all()
    assert not set(scene.train_indices.tolist()) & set(scene.test_indices.tolist())


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, what in changes:
        place = int(where * max(len(content), 1))
        if kind == "flip":
            content = content[:place] + what + content[place + len(what) :]
        elif kind == "insert":
            content = content[:place] + what + content[place:]
        elif kind == "delete":
            content = content[:place] + content[place + len(what) :]
        elif kind == "cut":
            content = content[:place]
        else:
            content = content[:place] + content[place : place + 40] * 2 + content[place + 40 :]
    return content


@pytest.mark.parametrize("name", CAMERA_FILES)
def test_bytes_changed_at_random(sound, name):
    file = sound[name] / CAMERA_FILES[name]
    original = file.read_bytes()

    @FUZZ
    @given(edits)
    def run(changes):
        file.write_bytes(edited(original, changes))
        load_whatever(sound[name])

    try:
        run()
    finally:
        file.write_bytes(original)


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 1e308, 1e-308, 1e13, "", "x", "../x", "\0", "a" * 5000, [], {}, [[]], [{}]]),
)


def places_in(value, path=()) -> list[tuple]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, child in children for place in places_in(child, (*path, key))]


@pytest.mark.parametrize("name", ["ngp", "nerfstudio", "blender", "polycam", "record3d", "cam_params.json"])
def test_json_values_replaced_by_odd_ones(sound, name):
    file = sound[name] / CAMERA_FILES[name]
    original = file.read_text()
    places = places_in(json.loads(original))[1:]
    extra = [("aabb_scale",), ("scale",), ("offset",), ("camera_model",), ("k4",), ("is_fisheye",), ("camera_angle_x",)]
    extra += [("ply_file_path",), ("train_filenames",), ("frames", 0, "mask_path"), ("frames", 1, "depth_file_path")]

    @FUZZ
    @given(st.lists(st.tuples(st.sampled_from(places + extra), odd_values), min_size=1, max_size=3))
    def run(changes):
        record = json.loads(original)
        for path, value in changes:
            target = record
            try:
                for key in path[:-1]:
                    target = target[key]
                target[path[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue
        file.write_text(json.dumps(record))
        load_whatever(sound[name])

    try:
        run()
    finally:
        file.write_text(original)


odd_numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -1.0, 1e300, 1e-300, 1e13, 1e6])
)


@pytest.mark.parametrize("name", ["llff", "dtu"])
def test_numbers_of_arrays_replaced(sound, name):
    file = sound[name] / CAMERA_FILES[name]
    original = file.read_bytes()

    @FUZZ
    @given(st.lists(st.tuples(st.integers(0, 10**6), odd_numbers), min_size=1, max_size=3))
    def run(changes):
        file.write_bytes(with_numbers(original, name, changes))
        load_whatever(sound[name])

    try:
        run()
    finally:
        file.write_bytes(original)


def with_numbers(original: bytes, name: str, changes: list[tuple[int, float]]) -> bytes:
    stream = io.BytesIO()
    if name == "llff":
        table = np.load(io.BytesIO(original))
        for place, value in changes:
            table.reshape(-1)[place % table.size] = value
        np.save(stream, table)
        return stream.getvalue()
    arrays = dict(np.load(io.BytesIO(original)))
    for place, value in changes:
        chosen = arrays[sorted(arrays)[place % len(arrays)]].reshape(-1)
        chosen[place // 7 % chosen.size] = value
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["metashape", "realityscan", "scannet", "intrinsic_color.txt", "replica"])
def test_numbers_of_texts_replaced(sound, name):
    file = sound[name] / CAMERA_FILES[name]
    original = file.read_text()
    places = [match.span() for match in re.finditer(r"-?\d+(\.\d+)?(e-?\d+)?", original)]

    @FUZZ
    @given(st.tuples(st.sampled_from(places), st.one_of(odd_numbers.map(repr), st.sampled_from(["", "x", "1 2"]))))
    def run(change):
        (begin, end), text = change
        file.write_text(original[:begin] + text + original[end:])
        load_whatever(sound[name])

    try:
        run()
    finally:
        file.write_text(original)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_doubles_of_colmap_files_replaced(sound, name):
    file = sound[name] / CAMERA_FILES[name]
    original = file.read_bytes()

    @FUZZ
    @given(st.lists(st.tuples(st.integers(0, 10**6), odd_numbers), min_size=1, max_size=3))
    def run(changes):
        content = bytearray(original)
        for place, value in changes:
            begin = 8 + place % (len(content) - 16)
            content[begin : begin + 8] = np.float64(value).tobytes()
        file.write_bytes(content)
        load_whatever(sound[name])

    try:
        run()
    finally:
        file.write_bytes(original)


def test_an_archive_that_unpacks_without_end(sound):
    file = sound["dtu"] / CAMERA_FILES["dtu"]
    original = file.read_bytes()
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
            member.write(bytes(65 << 20))
        with pytest.raises(OnefieldError, match=r"unpacks to [\d,]+ bytes, but at most"):
            load_scene(sound["dtu"])
    finally:
        file.write_bytes(original)
