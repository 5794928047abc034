"""A scene is put together from what a reconstruction left in its work folder, and only if that is whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onefield.data.structure_from_motion.job import MODEL, PICTURES, Job, JobLens, JobPicture, JobResult, PictureOutcome
from onefield.data.structure_from_motion.writing import POINTS_FILE, compose_scene
from onefield.errors import ResourceError
from tests.data.conftest import COUNT, HEIGHT, WIDTH, make_truth, write_colmap, write_nerfstudio

NAMES = [f"{index:03d}.png" for index in range(COUNT)]


@pytest.fixture
def work(tmp_path):
    """A work folder as the reconstructing process leaves it behind."""
    truth, work = make_truth(), tmp_path / "work"
    write_colmap(truth, tmp_path / "colmap")
    write_nerfstudio(truth, tmp_path / "points")
    work.mkdir()
    (tmp_path / "colmap" / "images").rename(work / PICTURES)
    (tmp_path / "colmap" / "sparse" / "0").rename(work / MODEL)
    (tmp_path / "points" / "points.ply").rename(work / POINTS_FILE)
    return work


def composed(work):
    job = Job([JobPicture(name, name, 0) for name in NAMES], [JobLens(WIDTH, HEIGHT, None)], 1)
    outcomes = [PictureOutcome(name, True, 900, 4, 4) for name in NAMES]
    return compose_scene(work, job, JobResult(outcomes, "shared intrinsics", [COUNT], 0.5, len(make_truth().points)))


def test_a_whole_model_becomes_a_scene(work):
    scene = composed(work)
    assert sorted(path.name for path in scene.iterdir()) == ["images", "points.ply", "sparse", "transforms.json"]
    with Image.open(scene / "images" / NAMES[3]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), make_truth().picture(3))


@pytest.mark.parametrize("file", ["model/images.bin", "model/points3D.bin", "model/cameras.bin", "points.ply"])
def test_files_cut_short_by_a_full_disk_become_no_scene(work, file):
    content = (work / file).read_bytes()
    (work / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ResourceError, match=r"not whole.*disk was full.*run the same again"):
        composed(work)
    assert not (work / "scene" / "transforms.json").exists()


def test_fewer_points_than_were_found_become_no_scene(work):
    lines = (work / POINTS_FILE).read_text().replace("element vertex 60", "element vertex 59").splitlines()
    (work / POINTS_FILE).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ResourceError, match="59 of 60 points"):
        composed(work)
