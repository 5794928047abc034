"""From plain photos of a known room to a scene: poses against the truth, read in two ways, repeated, and resumed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from onefield.data.assembly import LoadOptions, assemble
from onefield.data.colmap import COLMAP
from onefield.data.formats import load_scene
from onefield.data.structure_from_motion import runner
from onefield.data.structure_from_motion.processing import Request, process
from onefield.data.structure_from_motion.work_folder import work_folder_of
from onefield.errors import DataError, ResourceError, UsageError

pytest.importorskip("pycolmap")
# Bytes beyond which no file grows while the disk is full.
FULL = 1 << 16


@pytest.fixture(scope="module")
def processed(room, tmp_path_factory):
    """The room in three sittings: the disk was full while pairs were compared, and somebody stopped it after that."""
    folder = tmp_path_factory.mktemp("sfm")
    request = Request(room.write(folder / "photos"), folder / "scene")
    said: list[str] = []
    if sys.platform == "linux":
        with pytest.MonkeyPatch.context() as patch, pytest.raises(ResourceError, match=r"disk is full.*run the same"):
            process(request, full_disk_while_matching(patch), said.append)
        assert not request.output.exists()
        mark(request)

    def stop(phase):
        if phase.name == "matching" and phase.done == phase.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process(request, stop, said.append)
    assert not request.output.exists()
    mark(request)
    marks = []

    def look(phase):
        if phase.name == "mapping" and not marks:
            marks.append(read_marks(request))

    done = process(request, look, said.append)
    assert marks == [said.count("going on with what was interrupted in " + str(work_folder_of(request.output)))]
    return request, done, said


def full_disk_while_matching(patch):
    """An observer that lets no file of the reconstructing process grow any more once it compares pairs."""
    import resource

    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)

    patch.setattr(runner.subprocess, "Popen", Noted)

    def fill(phase):
        if phase.name == "matching":
            resource.prlimit(started[-1], resource.RLIMIT_FSIZE, (FULL, FULL))

    return fill


def mark(request):
    """Leaves a mark in the database: what goes on with it keeps it, what begins anew does not."""
    with sqlite3.connect(work_folder_of(request.output) / "database.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen_before (number INTEGER)")
        connection.execute("INSERT INTO seen_before VALUES (1)")
    connection.close()


def read_marks(request):
    database = work_folder_of(request.output) / "database.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        count = connection.execute("SELECT count(*) FROM seen_before").fetchone()[0]
    connection.close()
    return count


def in_dataset_frame(scene):
    return scene.transform.invert_poses(scene.cameras.camera_to_world).numpy()


def aligned_errors(found, truth):
    """Degrees and distances after the similarity that fits positions best (Umeyama 1991)."""
    a, b = found[:, :, 3], truth[:, :, 3]
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    turn, _ = Rotation.align_vectors(b0, a0)
    scale = np.sum(b0 * turn.apply(a0)) / np.sum(a0 * a0)
    angles = (Rotation.from_matrix(truth[:, :, :3]).inv() * turn * Rotation.from_matrix(found[:, :, :3])).magnitude()
    return np.degrees(angles), np.linalg.norm(scale * turn.apply(a0) - b0, axis=1)


def test_every_camera_is_where_it_was(processed, room):
    request, done, _ = processed
    assert (done.registered, done.pictures, done.left_out) == (12, 12, [])
    assert done.error < 0.5
    scene = load_scene(request.output)
    angles, distances = aligned_errors(in_dataset_frame(scene), room.poses)
    assert angles.max() < 0.5
    assert distances.max() < 0.03
    assert scene.cameras.focal.numpy() == pytest.approx(room.focal, rel=0.03)


def test_poses_that_came_along_are_mended_and_keep_their_frame(room, tmp_path):
    generator = np.random.default_rng(0)
    folder = room.write(tmp_path / "phone" / "images").parent
    world, metres = Rotation.from_euler("z", 70, degrees=True).as_matrix(), 3.0
    truth = np.concatenate([world @ room.poses[:, :, :3], metres * (world @ room.poses[:, :, 3:])], axis=2)
    frames = []
    for index, pose in enumerate(truth):
        noise = Rotation.from_rotvec(np.radians(generator.normal(0, 1.0, 3))).as_matrix()
        matrix = np.eye(4)
        matrix[:3] = np.column_stack([noise @ pose[:, :3], pose[:, 3] + generator.normal(0, 0.05, 3)])
        frames.append({
            "file_path": f"images/{index:02d}.png",
            "transform_matrix": (matrix @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist(),
        })  # fmt: skip
    frames[3]["transform_matrix"][0][0] = 7.0
    top = {"w": 320, "h": 240, "fl_x": 280.0, "fl_y": 280.0, "cx": 160.0, "cy": 120.0, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(top))
    said: list[str] = []
    done = process(Request(folder, tmp_path / "scene"), note=said.append)
    assert any(
        "12 photos came with poses (transforms.json (nerfstudio)), 11 of them usable" in text
        and "keeps their frame" in text
        for text in said
    )
    assert (done.registered, done.up_source) == (12, "the given poses")
    assert 0.5 < done.given[0] < 3
    assert 0.02 < done.given[1] < 0.2
    found = in_dataset_frame(load_scene(tmp_path / "scene"))
    names = [int(name[-6:-4]) for name in load_scene(tmp_path / "scene").image_names]
    # the frame is as good as the mean of twelve noisy cameras, and the cameras among each other are much better
    assert np.abs(found[:, :, 3] - truth[names, :, 3]).max() < 0.25
    angles, distances = aligned_errors(found, truth[names])
    assert angles.max() < 0.5
    assert distances.max() < 0.1


def test_the_floor_is_level(processed, room):
    request, done, _ = processed
    found = in_dataset_frame(load_scene(request.output))
    axes = [poses[:, :, :3].transpose(0, 2, 1).reshape(-1, 3) for poses in (room.poses, found)]
    turn, _ = Rotation.align_vectors(*axes)
    assert np.degrees(np.arccos(turn.apply([0, 0, 1])[2])) < 3
    record = json.loads((request.output / "processing.json").read_text())
    assert record["up"]["source"] == done.up_source


def test_both_forms_are_the_same_scene(processed):
    request, _, _ = processed
    json_scene = load_scene(request.output)
    colmap_scene = assemble(COLMAP.read(request.output), request.output, LoadOptions())
    assert (json_scene.format, colmap_scene.format) == ("transforms.json (nerfstudio)", "colmap")
    assert [f"images/{name}" for name in colmap_scene.image_names] == list(json_scene.image_names)
    np.testing.assert_allclose(in_dataset_frame(json_scene), in_dataset_frame(colmap_scene), atol=1e-9)
    for name in ("focal", "center", "distortion", "width", "height"):
        np.testing.assert_allclose(getattr(json_scene.cameras, name), getattr(colmap_scene.cameras, name))
    points = [scene.transform.inverse().apply(scene.points.points.double()) for scene in (json_scene, colmap_scene)]
    first, second = (np.sort(item.numpy(), axis=0) for item in points)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_nothing_else_is_left(processed):
    request, _, said = processed
    assert any("going on" in text for text in said)
    assert any("12 photos, 66 pairs to compare: about" in text for text in said)
    assert sorted(path.name for path in request.output.parent.iterdir()) == ["photos", "scene"]
    assert sorted(path.name for path in request.output.iterdir()) == [
        "images", "points.ply", "processing.json", "sparse", "transforms.json",
    ]  # fmt: skip


def test_processing_twice_is_recognised(processed):
    request, done, _ = processed
    before = (request.output / "transforms.json").stat()
    again = process(request)
    assert again.known
    assert (again.registered, again.error, again.scene) == (12, done.error, done.scene)
    assert (request.output / "transforms.json").stat() == before


def test_other_photos_never_overwrite_a_scene(processed, room, tmp_path):
    request, _, _ = processed
    fewer = room.write(tmp_path / "fewer")
    (fewer / "00.png").unlink()
    with pytest.raises(UsageError, match="not made from exactly these photos"):
        process(Request(fewer, request.output))
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="exists"):
        process(Request(fewer, tmp_path / "mine"))


@pytest.mark.parametrize(
    ("change", "words"), [({"up": "w"}, "up axis 'w'.*auto"), ({"frames": 2}, "at least 3 frames, got 2")]
)
def test_options_that_mean_nothing(tmp_path, change, words):
    with pytest.raises(UsageError, match=words):
        Request(tmp_path, **change)


def test_sources_that_are_none(tmp_path):
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(DataError, match="does not exist"):
        process(Request(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"text\.txt is no video"):
        process(Request(tmp_path / "text.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"]


def test_too_little_disk_is_said_before_the_work(room, tmp_path, monkeypatch):
    import shutil

    photos = room.write(tmp_path / "photos")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ResourceError, match=r"has 1 MB free.*--output"):
        process(Request(photos, tmp_path / "scene"))
    assert not (tmp_path / "scene").exists()


def test_without_pycolmap_one_line_says_how_to_install_it(room, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pycolmap" else find(name))
    with pytest.raises(UsageError, match=r'pip install "onefield\[sfm\]"'):
        process(Request(room.write(tmp_path / "photos"), tmp_path / "scene"))
