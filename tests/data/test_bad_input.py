"""Case by case: what is wrong with a dataset is said in one sentence that names the file, the value and the cure.

`refused` asks both the loader and the real command, which must answer with exit code 3, one line and no file. All that
can be wrong, and the tests of it (those without a file are here; "runs" is tests/end_to_end/test_runs.py, "bad runs"
tests/end_to_end/test_bad_runs.py):

| what is wrong | tests |
|---|---|
| a path that isn't there; a folder that is no scene | test_nothing_there, test_no_known_scene |
| images missing, few or most | test_some_images_..., test_most_images_..., test_the_real_scene_... |
| images truncated | test_truncated_image_..., and in training: bad runs, test_a_truncated_image |
| images of zero bytes, no images, of another size, huge | test_zero_bytes, test_not_an_image, test_another_..., |
| | test_more_than_a_hundred_megapixels |
| poses with NaN, not orthonormal, mirrored | test_pose_with_nan, test_pose_that_is_no_rotation, ..._mirrored |
| one camera a thousand times farther | test_one_camera_a_thousand_times_farther_is_left_out |
| fewer than 3 views; one point; zero focal length | test_fewer_than_three_views, test_all_cameras_at_one_point, |
| | test_impossible_focal_lengths |
| JSON broken, with NaN, nested a million deep | test_broken_json_..., test_pose_with_nan, test_json_nested_... |
| paths that leave the dataset | test_paths_that_leave_..., test_links_..., test_colmap_names_that_leave_the_dataset |
| COLMAP files truncated, counts too large | test_colmap_files_that_are_truncated, test_colmap_counts_..., |
| a scene in UTM coordinates | test_formats.py (shift); exported back: bad runs, test_a_scene_in_utm_coordinates |
| unknown preset, key or value | runs, test_mistakes_...; bad runs, test_values_of_the_wrong_kind |
| checkpoints broken, foreign, pickled | tests/training/test_checkpoints.py; bad runs, test_a_broken_checkpoint, |
| | test_a_checkpoint_of_another_method |
| two runs in one folder | runs, test_a_second_run_...; bad runs, test_a_folder_in_use; test_run_folder.py |
| disk full or read-only while training | tests/training/test_loop.py; bad runs, test_a_full_disk, test_checkpoints.py |
| Ctrl-C and SIGTERM | runs, test_a_stopped_run_resumes_to_the_same_numbers |
| a field asked for what it does not provide | tests/contracts/test_catalog.py, tests/fields/test_composed.py |
| an empty level set | runs, test_mistakes_... (export --isovalue); tests/meshing/test_level_sets.py |
| Gaussians in files, budgets and views | tests/end_to_end/test_bad_gaussians.py |
| memory too small | bad runs, test_memory_...; tests/training/test_memory.py |
"""

import contextlib
import io
import json
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.data.signals import load_signal
from onefield.data.strict_json import _STRUCTURE
from onefield.errors import DataError, UsageError
from onefield.tools.main import main


@pytest.fixture
def folder(synthetic, tmp_path) -> Path:
    """A valid instant-ngp dataset of five views."""
    synthetic.ngp(synthetic.truth, tmp_path)
    return tmp_path


def rewrite(folder: Path, change) -> None:
    file = folder / "transforms.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def command_says(folder: Path) -> str:
    """The last line on stderr of a training that must be refused, after warnings at most."""
    talk, logger = io.StringIO(), logging.getLogger("onefield")
    handlers = list(logger.handlers)
    output = folder.parent / f"{folder.name}-run"
    with contextlib.redirect_stderr(talk), contextlib.redirect_stdout(io.StringIO()) as results:
        code = main(["train", str(folder), "--output", str(output)])
    logger.handlers = handlers
    *warnings, line = talk.getvalue().splitlines()
    assert code == DataError.exit_code
    assert all(warning.startswith("warning: ") for warning in warnings)
    assert not results.getvalue()
    assert not output.exists()
    return line


def refused(folder: Path, *said: str) -> str:
    with pytest.raises(DataError) as caught:
        load_scene(folder)
    message = str(caught.value)
    for part in said:
        assert part in message
    assert message.endswith(".")
    assert "\n" not in message
    assert command_says(folder) == f"onefield train: {message}"
    return message


def test_nothing_there(tmp_path):
    refused(tmp_path / "nowhere", "nowhere doesn't exist", "give the folder")


def test_no_known_scene(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty", "looked for", "transforms.json", "poses_bounds.npy")


def test_the_real_scene_with_missing_images(data_folder):
    scene = load_scene(data_folder / "fox" / "transforms_with_missing.json")
    listed = json.loads((data_folder / "fox" / "transforms_with_missing.json").read_text())["frames"]
    missing = len(listed) - len(scene)
    assert missing > 0
    assert [warning for warning in scene.warnings if f"{missing} of {len(listed)} images are missing" in warning]


def test_some_images_missing_are_skipped(folder):
    (folder / "images" / "002.png").unlink()
    scene = load_scene(folder)
    assert len(scene) == 4
    assert scene.warnings == (f"1 of 5 images are missing and were skipped (first: {folder}/images/002.png).",)


def test_most_images_missing_are_refused(folder):
    for index in (0, 1, 2):
        (folder / "images" / f"00{index}.png").unlink()
    refused(folder, "lists 5 images but only 2 exist", "000.png")


def test_zero_bytes(folder):
    (folder / "images" / "003.png").write_bytes(b"")
    refused(folder, "003.png", "0 bytes", "remove it")


def test_not_an_image(folder):
    (folder / "images" / "003.png").write_text("hello")
    refused(folder, "003.png", "not an image")


def test_truncated_image_is_named_when_decoded(folder):
    file = folder / "images" / "003.png"
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, format="PNG")
    file.write_bytes(stream.getvalue()[:100])
    scene = load_scene(folder)
    with pytest.raises(DataError, match=r"003.png is truncated or damaged"):
        scene.images.image(3)
    with pytest.raises(DataError, match=r"003.png is truncated or damaged"):
        scene.images.gather_flat(range(5))


def test_another_shape_than_the_intrinsics(folder):
    Image.new("RGB", (9, 20)).save(folder / "images" / "001.png")
    refused(folder, "001.png is 9 x 20 pixels", "8 x 6", "restore")


def test_a_proportionally_smaller_image_rescales_its_intrinsics(folder):
    Image.new("RGB", (4, 3)).save(folder / "images" / "001.png")
    scene = load_scene(folder)
    assert scene.cameras.focal.tolist() == [[9.0, 9.0], [4.5, 4.5], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]]
    assert scene.cameras.center[1].tolist() == [2.0, 1.5]
    assert scene.cameras.width.tolist() == [8, 4, 8, 8, 8]
    assert "1 images have another size than their intrinsics" in scene.warnings[0]


def huge_png(width: int, height: int) -> bytes:
    """A valid header of a picture of any size, and hardly any pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (60_000, 60_000)])
def test_more_than_a_hundred_megapixels(folder, width, height):
    (folder / "images" / "001.png").write_bytes(huge_png(width, height))
    refused(folder, "001.png", "100,000,000 pixels", "smaller image")


def set_pose(record, change) -> None:
    matrix = np.array(record["frames"][2]["transform_matrix"])
    change(matrix)
    record["frames"][2]["transform_matrix"] = matrix.tolist()


def test_many_pictures_beyond_measure_are_named(tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(huge_png(60_000, 60_000))
    with pytest.raises(DataError, match=r"0\.png is no picture that can be read"):
        load_signal(tmp_path)


def test_pose_with_nan(folder):
    text = (folder / "transforms.json").read_text()
    record = json.loads(text)
    record["frames"][2]["transform_matrix"][0][1] = float("nan")
    (folder / "transforms.json").write_text(json.dumps(record))
    refused(folder, "frames[2].transform_matrix[0][1]", "nan")


def test_pose_that_is_no_rotation(folder):
    rewrite(folder, lambda record: set_pose(record, lambda m: m.__setitem__((slice(0, 3), 0), 3.0 * m[:3, 0])))
    refused(folder, "002.png", "no rotation", "without scale")


def test_pose_that_is_mirrored(folder):
    rewrite(folder, lambda record: set_pose(record, lambda m: m.__setitem__((slice(0, 3), 0), -m[:3, 0])))
    refused(folder, "002.png", "mirrored")


def test_pose_with_rounding_is_mended(folder):
    rewrite(folder, lambda record: set_pose(record, lambda m: m.__setitem__((0, 0), m[0, 0] + 0.01)))
    scene = load_scene(folder)
    assert "1 poses were not exact rotations" in scene.warnings[0]
    rotation = scene.cameras.camera_to_world[2, :, :3].numpy()
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12


def test_one_camera_a_thousand_times_farther_is_left_out(synthetic, tmp_path):
    sound, with_outlier = tmp_path / "sound", tmp_path / "outlier"
    for target in (sound, with_outlier):
        synthetic.colmap(synthetic.truth, target)
    expected = load_scene(sound).transform.scale
    truth = synthetic.make_truth()
    truth.poses[4, :, 3] *= 1000
    synthetic.colmap(truth, with_outlier)
    scene = load_scene(with_outlier)
    assert len(scene) == 4
    assert "1 views stand more than 100 times farther away" in scene.warnings[0]
    assert "004.png" in scene.warnings[0]
    assert scene.transform.scale == pytest.approx(expected, rel=0.3)


def test_fewer_than_three_views(folder):
    rewrite(folder, lambda record: record.__setitem__("frames", record["frames"][:2]))
    refused(folder, "2 usable views", "at least 3", "add photos")


def test_no_views(folder):
    rewrite(folder, lambda record: record.__setitem__("frames", []))
    refused(folder, "lists no views")


def test_all_cameras_at_one_point(folder):
    def gather(record):
        for frame in record["frames"]:
            for row in range(3):
                frame["transform_matrix"][row][3] = 1.5

    rewrite(folder, gather)
    refused(folder, "all 5 cameras stand at one point")


@pytest.mark.parametrize("focal", [0, -9.0, 1e-200, 1e300])
def test_impossible_focal_lengths(folder, focal):
    rewrite(folder, lambda record: record.__setitem__("fl_x", focal))
    refused(folder, "focal length", "000.png")


def test_no_focal_length(folder):
    rewrite(folder, lambda record: record.pop("fl_x"))
    refused(folder, "frames[0]", "neither 'fl_x' nor 'camera_angle_x'")


def test_unknown_camera_model(folder):
    rewrite(folder, lambda record: record.__setitem__("camera_model", "EQUIRECTANGULAR"))
    refused(folder, "EQUIRECTANGULAR", "isn't supported")


def test_broken_json_names_line_and_column(folder):
    (folder / "transforms.json").write_text('{\n  "frames": [,]\n}')
    refused(folder, "transforms.json", "line 2, column 14")


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"frames"', ""])
def test_json_that_is_no_object(folder, text):
    (folder / "transforms.json").write_text(text)
    refused(folder, "transforms.json")


def test_json_nested_a_million_deep(folder):
    (folder / "transforms.json").write_text('{"frames": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}")
    refused(folder, "nests more than 32 levels")


def test_json_with_a_string_without_end_is_looked_at_once():
    for text in ('"' + '\\"' * 100, '"' + '\\"' * 100 + "\\"):
        assert [match.group() for match in _STRUCTURE.finditer(text)] == [text]


def test_json_with_numbers_too_long(folder):
    rewrite(folder, lambda record: record.__setitem__("w", 10**400))
    refused(folder, "'w'", "too large")
    (folder / "transforms.json").write_text('{"frames": [], "w": ' + "9" * 5000 + "}")
    refused(folder, "transforms.json")


def test_json_that_is_not_text(folder):
    (folder / "transforms.json").write_bytes(b'{"frames": "\xff\xfe"}')
    refused(folder, "not UTF-8", "byte 12")


def test_offsets_beyond_measure(folder):
    rewrite(folder, lambda record: record.__setitem__("offset", 1e308))
    refused(folder, "'offset' is [1e+308, 1e+308, 1e+308]")


def test_splits_that_name_no_frame_are_told(folder):
    def split(record):
        names = [frame["file_path"] for frame in record["frames"]]
        record |= {"train_filenames": names[:4], "test_filenames": ["images/none.png"]}

    rewrite(folder, split)
    scene = load_scene(folder)
    assert (len(scene.train_indices), len(scene.test_indices), scene.split_rule) == (4, 0, "none")
    assert "1 names of the splits belong to no frame (first: images/none.png)." in scene.warnings
    assert any("none was held out" in warning for warning in scene.warnings)


def test_keys_of_the_wrong_kind_are_named(folder):
    rewrite(folder, lambda record: record["frames"][1].__setitem__("transform_matrix", [[1, 2], [3, 4]]))
    refused(folder, "frames[1]: 'transform_matrix' must hold 4x4 or 3x4 numbers")
    rewrite(folder, lambda record: record["frames"].__setitem__(1, "images/000.png"))
    refused(folder, "frames[1] must be an object")
    rewrite(folder, lambda record: record.__setitem__("frames", {"0": {}}))
    refused(folder, "'frames' must be a list of objects")


@pytest.mark.parametrize("named", ["../outside.png", "/etc/hostname", "images/../../outside.png", "..\\outside.png"])
def test_paths_that_leave_the_dataset(folder, named):
    Image.new("RGB", (8, 6)).save(folder.parent / "outside.png")
    rewrite(folder, lambda record: record["frames"][1].__setitem__("file_path", named))
    refused(folder, "frames[1]", "leaves the dataset's folder")


def test_links_that_leave_the_dataset(folder):
    Image.new("RGB", (8, 6)).save(folder.parent / "linked.png")
    (folder / "images" / "001.png").unlink()
    (folder / "images" / "001.png").symlink_to(folder.parent / "linked.png")
    refused(folder, "leaves the dataset's folder")


@pytest.mark.parametrize("name", ["llff", "dtu"])
def test_links_among_listed_images(synthetic, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    synthetic.write(name, folder)
    image = next(folder.rglob("*[04].png"))
    image.rename(tmp_path / "linked.png")
    image.symlink_to(tmp_path / "linked.png")
    refused(folder, "leaves the dataset's folder")


def test_a_path_with_a_zero_byte(folder):
    rewrite(folder, lambda record: record["frames"][1].__setitem__("file_path", "a\0b"))
    refused(folder, "can't be a path")


@pytest.fixture
def colmap(synthetic, tmp_path) -> Path:
    synthetic.colmap(synthetic.truth, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_files_that_are_truncated(colmap, name):
    file = colmap / "sparse" / "0" / name
    file.write_bytes(file.read_bytes()[:-9])
    refused(colmap, name, "bytes")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_counts_larger_than_the_file(colmap, name):
    file = colmap / "sparse" / "0" / name
    file.write_bytes(struct.pack("<Q", 1 << 60) + file.read_bytes()[8:])
    refused(colmap, name, str(1 << 60), "truncated")


def test_colmap_observations_larger_than_the_file(colmap):
    file = colmap / "sparse" / "0" / "images.bin"
    content = bytearray(file.read_bytes())
    place = 8 + 64 + len("000.png") + 1
    content[place : place + 8] = struct.pack("<Q", 1 << 50)
    file.write_bytes(content)
    refused(colmap, "images.bin", "observations", str(place))


def test_colmap_unknown_model(colmap):
    file = colmap / "sparse" / "0" / "cameras.bin"
    content = bytearray(file.read_bytes())
    content[12:16] = struct.pack("<i", 77)
    file.write_bytes(content)
    refused(colmap, "unknown model 77", "byte 8")
    content[12:16] = struct.pack("<i", 7)
    file.write_bytes(content)
    refused(colmap, "FOV isn't supported", "image_undistorter")


def test_colmap_image_without_camera(colmap):
    file = colmap / "sparse" / "0" / "cameras.bin"
    content = bytearray(file.read_bytes())
    content[8:12] = struct.pack("<I", 8)
    file.write_bytes(content)
    refused(colmap, "camera 7, absent")


def test_colmap_text_with_words_for_numbers(synthetic, tmp_path):
    synthetic.colmap(synthetic.truth, tmp_path, "PINHOLE", True)
    file = tmp_path / "sparse" / "0" / "images.txt"
    lines = file.read_text().split("\n")
    lines[3] = lines[3].replace(" 7 ", " seven ")
    file.write_text("\n".join(lines))
    refused(tmp_path, "images.txt, line 4", "seven")


def test_colmap_text_without_a_line_of_observations(synthetic, tmp_path):
    synthetic.colmap(synthetic.truth, tmp_path, "PINHOLE", True)
    file = tmp_path / "sparse" / "0" / "images.txt"
    file.write_text("\n".join(line for line in file.read_text().split("\n") if line.endswith(".png")))
    refused(tmp_path, "images.txt, line 2 should hold the observations of image", "an empty line behind each image")


def test_colmap_names_that_leave_the_dataset(colmap):
    file = colmap / "sparse" / "0" / "images.bin"
    file.write_bytes(file.read_bytes().replace(b"001.png", b"../../x"))
    refused(colmap, "leaves the dataset's folder")


def test_numpy_files_are_never_unpickled(synthetic, tmp_path):
    for name in ("llff", "dtu"):
        (tmp_path / name).mkdir()
        synthetic.write(name, tmp_path / name)
    poison = np.array([{"not": "numbers"}], dtype=object)
    np.save(tmp_path / "llff" / "poses_bounds.npy", poison, allow_pickle=True)
    refused(tmp_path / "llff", "poses_bounds.npy", "never unpickled")
    np.savez(tmp_path / "dtu" / "cameras_sphere.npz", world_mat_0=poison, allow_pickle=True)
    refused(tmp_path / "dtu", "world_mat_0", "never unpickled")


def test_numpy_header_that_claims_more_than_the_file(synthetic, tmp_path):
    synthetic.write("llff", tmp_path)
    file = tmp_path / "poses_bounds.npy"
    honest, lying = b"(5, 17), }          ", b"(99999999999, 17), }"
    assert honest in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(honest, lying))
    refused(tmp_path, "poses_bounds.npy", "claims shape (99999999999, 17)", "680 bytes follow")
    np.save(file, np.zeros((5, 16)))
    refused(tmp_path, "(5, 16)", "images x 17")


def test_llff_rows_must_match_the_images(synthetic, tmp_path):
    synthetic.write("llff", tmp_path)
    (tmp_path / "images" / "004.png").unlink()
    refused(tmp_path, "5 rows", "4 images")


def test_npz_that_is_no_archive(synthetic, tmp_path):
    synthetic.write("dtu", tmp_path)
    (tmp_path / "cameras_sphere.npz").write_bytes(b"PK\x03\x04 nothing")
    refused(tmp_path, "no readable .npz archive")


def test_dtu_counts_and_keys(synthetic, tmp_path):
    synthetic.write("dtu", tmp_path)
    arrays = dict(np.load(tmp_path / "cameras_sphere.npz"))
    np.savez(tmp_path / "cameras_sphere.npz", **{k: v for k, v in arrays.items() if k != "scale_mat_0"})
    refused(tmp_path, "'scale_mat_0' is missing")
    np.savez(tmp_path / "cameras_sphere.npz", **(arrays | {"world_mat_1": np.zeros((4, 4))}))
    refused(tmp_path, "'world_mat_1' is no projection")
    np.savez(tmp_path / "cameras_sphere.npz", **{k: v for k, v in arrays.items() if not k.endswith("_4")})
    refused(tmp_path, "4 cameras", "5 images")


def test_masks_that_leave_nothing(folder):
    Image.new("L", (8, 6)).save(folder / "black.png")
    rewrite(folder, lambda record: [frame.__setitem__("mask_path", "black.png") for frame in record["frames"]])
    scene = load_scene(folder)
    with pytest.raises(DataError, match="leave no pixel"):
        RayBatches(scene, scene.train_indices).next(4)


def test_options_out_of_range(folder):
    for options in ({"masks": "maybe"}, {"downscale": 0}, {"hold_out_every": 1}, {"hold_out_every": -2}):
        with pytest.raises(UsageError):
            load_scene(folder, **options)


def test_broken_point_files(synthetic, tmp_path):
    synthetic.write("nerfstudio", tmp_path)
    file = tmp_path / "points.ply"
    text = file.read_text()
    file.write_text(text.replace("vertex 60", "vertex 999999999999"))
    refused(tmp_path, "points.ply", "999999999999")
    file.write_text(text.replace("property double x", "property list uchar int x"))
    refused(tmp_path, "points.ply", "property")
    file.write_text("solid")
    refused(tmp_path, "points.ply", "no PLY")
