"""Folders as people have them: two scenes, sizes and orientations mixed, white walls, blur, broken files, odd names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from onefield.data.formats import load_scene
from onefield.data.structure_from_motion.processing import Request, process
from onefield.errors import DataError

pytest.importorskip("pycolmap")


def save(path, pixels, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


@pytest.fixture(scope="module")
def mixed(room, other_room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    photos = folder / "my photos"
    for index, picture in enumerate(room.pictures[:9]):
        save(photos / "über uns" / f"a {index}.jpg", picture)
    # held upright and stored on its side, as phones do
    save(photos / "turned.jpg", np.ascontiguousarray(np.rot90(room.pictures[9])), orientation=6)
    save(photos / "half.png", room.pictures[10][::2, ::2])
    save(photos / "upright.jpg", room.pictures[5][:, 80:240])
    save(photos / "same.png", room.pictures[11])
    save(photos / "same.jpg", room.pictures[1][:, 10:])
    for index, picture in enumerate(other_room.pictures):
        save(photos / "other" / f"a {index}.jpg", picture)
    generator = np.random.default_rng(1)
    save(photos / "wall.png", (240 + generator.integers(0, 2, (240, 320, 3))).astype(np.uint8))
    save(photos / "blur.jpg", gaussian_filter(room.pictures[4][:, ::-1], (6, 6, 0)))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    said: list[str] = []
    return process(Request(photos, folder / "the scene"), note=said.append), said, photos


def test_the_larger_scene_is_kept_and_the_other_named(mixed):
    done, _, _ = mixed
    placed = {path.relative_to(done.scene / "images").as_posix() for path in (done.scene / "images").rglob("*.*")}
    assert {f"über uns/a {index}.jpg" for index in range(9)} | {"turned.jpg", "same.png"} <= placed
    assert not any(name.startswith("other/") for name in placed)
    assert "groups that don't connect" in done.warnings[0]
    others = [item for item in done.left_out if item.name.startswith("other/")]
    assert len(others) == 6
    assert {item.reason for item in others} == {"no matches"}


def test_walls_blur_and_broken_files_have_their_reasons(mixed):
    done, said, _ = mixed
    reasons = {item.name: item.reason for item in done.left_out}
    assert reasons["wall.png"] == "too few features"
    assert reasons["blur.jpg"] in ("too few features", "no matches")
    assert any("1 of 23 photos can't be read" in text and "broken.jpg" in text for text in said)
    assert all(item.cure for item in done.left_out)


def test_poses_belong_to_pictures_as_training_decodes_them(mixed, room):
    """The turned photo: size, pixels and viewing direction are those of the upright picture, beside its neighbours'."""
    done, _, _ = mixed
    scene = load_scene(done.scene)
    assert not scene.warnings
    names = {name: index for index, name in enumerate(scene.image_names)}
    turned = names["images/turned.jpg"]
    assert (int(scene.cameras.width[turned]), int(scene.cameras.height[turned])) == (320, 240)
    poses = scene.transform.invert_poses(scene.cameras.camera_to_world).numpy()
    beside = poses[names["images/über uns/a 8.jpg"]]
    between = room.poses[8][:, :3].T @ room.poses[9][:, :3]
    np.testing.assert_allclose(beside[:, :3].T @ poses[turned][:, :3], between, atol=0.01)
    with Image.open(done.scene / "images" / "turned.jpg") as stored:
        assert np.abs(np.asarray(stored).astype(int) - room.pictures[9]).mean() < 6
        assert stored.getexif().get(0x0112, 1) == 1


def test_portraits_and_other_sizes_keep_their_own_shape_and_lens(mixed):
    """Half the pixels have half the focal length; a portrait cut out of a wide picture has the focal length of it."""
    done, _, _ = mixed
    scene = load_scene(done.scene)
    shapes = {
        name: (int(scene.cameras.width[index]), int(scene.cameras.height[index]), float(scene.cameras.focal[index, 0]))
        for index, name in enumerate(scene.image_names)
    }
    assert shapes["images/same.png"][:2] == (320, 240)
    assert shapes["images/upright.jpg"][:2] == (160, 240)
    assert shapes["images/upright.jpg"][2] == pytest.approx(300, rel=0.1)
    assert shapes["images/half.png"][:2] == (160, 120)
    assert shapes["images/half.png"][2] == pytest.approx(150, rel=0.1)


WHITE = [np.full((240, 320, 3), value, np.uint8) for value in (250, 240, 230)]
UNRELATED = [
    np.clip(gaussian_filter(np.random.default_rng(seed).normal(128, 500, (240, 320, 3)), (3, 3, 0)), 0, 255)
    for seed in range(3)
]


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        (WHITE, "too few features in 3"),
        (UNRELATED, "no matches in 3"),
        ("blurred", r"too few features in [1-4] .*hold still"),
    ],
)
def test_photos_that_give_no_scene_say_why_and_leave_nothing(room, tmp_path, pictures, reason):
    if pictures == "blurred":
        pictures = [gaussian_filter(picture, (12, 12, 0)) for picture in room.pictures[:4]]
    for index, picture in enumerate(pictures):
        save(tmp_path / "photos" / f"{index}.png", picture.astype(np.uint8))
    with pytest.raises(DataError, match=reason):
        process(Request(tmp_path / "photos", tmp_path / "scene"))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
