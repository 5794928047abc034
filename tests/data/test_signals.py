import struct
import zlib
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
import trimesh
from scipy.io import wavfile

from onefield.data.signals import Shape, Signal, load_signal, signal_of
from onefield.errors import DataError, UsageError
from onefield.types import Bounds


def test_points_are_pixel_centres_x_first():
    array = np.arange(6, dtype=np.float32).reshape(2, 3) / 8
    image = signal_of(array)
    assert image.kind == "image"
    assert image.domain == Bounds((0.0, 0.0), (1.0, 2 / 3))
    points = image.points(torch.arange(6))
    # row 1, column 2 is the last sample: x = 2.5 / 3, y = 1.5 / 3
    torch.testing.assert_close(points[5], torch.tensor([2.5 / 3, 1.5 / 3]))
    torch.testing.assert_close(points[1], torch.tensor([1.5 / 3, 0.5 / 3]))
    for point, value in zip(points, image.at(torch.arange(6)), strict=True):
        x, y = (point * 3).long().tolist()
        assert value.item() == array[y, x]


def test_volumes_and_videos_list_their_axes_the_same_way():
    values = torch.arange(24.0).reshape(2, 3, 4)
    volume = signal_of(values, "volume")
    assert volume.domain.maximum == (1.0, 0.75, 0.5)
    points = volume.points(torch.arange(24))
    for point, value in zip(points, volume.at(torch.arange(24)), strict=True):
        i, j, k = (point * 4).long().tolist()
        assert value.item() == values[k, j, i]


def test_long_audio_keeps_neighbours_apart():
    sound = signal_of(np.zeros(3_000_000, np.float32))
    points = sound.points(torch.arange(2_900_000, 2_900_100))[:, 0]
    assert (points[1:] > points[:-1]).all()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((9,), "audio"), ((5, 6), "image"), ((5, 6, 4), "image"), ((5, 6, 7), "volume"), ((2, 5, 6, 3), "video")],
)
def test_kinds_are_guessed_from_the_shape(shape, kind):
    assert signal_of(np.zeros(shape)).kind == kind


def test_ranges_of_numbers():
    eight = signal_of(np.array([[0, 255]], np.uint8))
    assert (eight.values.max(), eight.value_range) == (1.0, 1.0)
    hounsfield = signal_of(np.array([[-1000, 2000]], np.int16))
    assert (hounsfield.values.min(), hounsfield.value_range) == (-1000.0, 3000.0)
    assert signal_of(np.full((3, 3), 7.0)).value_range == 1.0


def test_unknown_samples_are_left_out():
    signal = signal_of(np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]]))
    assert signal.known().tolist() == [0, 2, 3, 4, 5]
    assert signal.value_range == 5.0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 4)), "no samples"),
        (np.full((3, 3), np.nan), "All values"),
        (np.array([[1.0, np.inf]]), "infinite"),
        (np.zeros((2, 2), complex), "real numbers"),
        (np.zeros((1, 2, 3, 4, 5)), "name its kind"),
    ],
)
def test_meaningless_arrays_are_refused_in_a_sentence(array, words):
    with pytest.raises(DataError, match=words):
        signal_of(array)


def test_masked_samples_are_unknown_and_short_floats_are_read():
    masked = np.ma.masked_equal(np.array([[7, 2], [3, 7]]), 7)
    assert signal_of(masked).known().tolist() == [1, 2]
    assert signal_of(torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16)).values.flatten().tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[1.0, np.inf]]), "has infinite values"),
        (np.array([[1.0, -1e300]]), r"reach 1e\+300, more than"),
        (np.array(3.0), "no signal that can be guessed"),
        (np.zeros((2, 2), complex), "holds complex128"),
    ],
)
def test_files_of_meaningless_numbers_are_named(array, words, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=rf"a\.npy.* {words}"):
        load_signal(tmp_path / "a.npy")


def test_an_array_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((20, 50), np.uint8))
    monkeypatch.setattr("onefield.data.signal_files.memory_available", lambda: 9000)
    with pytest.raises(DataError, match=r"a\.npy has 1,128 bytes, but at most 1,000 .* \(--tile 512\)"):
        load_signal(tmp_path / "a.npy")
    monkeypatch.undo()
    assert load_signal(tmp_path / "a.npy").shape == (20, 50)


def test_unknown_kind():
    with pytest.raises(UsageError, match="did you mean 'image'"):
        Signal("imag", torch.zeros(2, 2, 1), 1.0)


def sixteen_bit_png(path: Path, pixels: np.ndarray) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_pictures_of_all_depths_keep_their_values(tmp_path):
    generator = np.random.default_rng(0)
    wide = generator.integers(0, 65536, (4, 6, 3)).astype(np.uint16)
    sixteen_bit_png(tmp_path / "wide.png", wide)
    grey = generator.integers(0, 65536, (4, 6)).astype(np.uint16)
    imageio.imwrite(tmp_path / "grey.png", grey)
    alpha = generator.integers(0, 256, (4, 6, 4)).astype(np.uint8)
    imageio.imwrite(tmp_path / "alpha.png", alpha)
    linear = generator.random((4, 6)).astype(np.float32) * 5
    imageio.imwrite(tmp_path / "linear.tiff", linear)
    for name, truth in (
        ("wide.png", wide / 65535),
        ("grey.png", grey[..., None] / 65535),
        ("alpha.png", alpha / 255),
        ("linear.tiff", linear[..., None]),
    ):
        signal = load_signal(tmp_path / name)
        assert signal.kind == "image"
        np.testing.assert_allclose(signal.values.numpy(), truth, atol=1e-6)


def test_sound_files_become_parts_of_full_scale(tmp_path):
    wave = np.array([[-1.0, 0.5], [0.0, -0.25]], np.float32)
    for dtype, scale in ((np.int16, 2**15), (np.int32, 2**31), (np.float32, 1)):
        written = np.clip(wave.astype(np.float64) * scale, -scale, scale - 1 if scale > 1 else 1).astype(dtype)
        wavfile.write(tmp_path / "a.wav", 8000, written)
        signal = load_signal(tmp_path / "a.wav")
        assert (signal.kind, signal.rate, signal.value_range, signal.channels) == ("audio", 8000.0, 2.0, 2)
        np.testing.assert_allclose(signal.values.numpy(), wave, atol=1e-4)


def test_frames_are_ordered_by_number(tmp_path):
    for number in (10, 9, 8):
        imageio.imwrite(tmp_path / f"f{number}.png", np.full((3, 5, 3), number, np.uint8))
    video = load_signal(tmp_path)
    assert (video.kind, video.shape) == ("video", (3, 3, 5))
    torch.testing.assert_close(video.values[:, 0, 0, 0] * 255, torch.tensor([8.0, 9.0, 10.0]))
    imageio.imwrite(tmp_path / "f11.png", np.zeros((3, 5), np.uint8))
    with pytest.raises(DataError, match="alike"):
        load_signal(tmp_path)


@pytest.mark.parametrize("name", ["f4.png", "f3.jpg", "cat.png", "kittens/f3.png", "f3.wav"])
def test_pictures_that_are_no_frames_are_not_read_as_a_video(name, tmp_path):
    for number in (1, 2):
        imageio.imwrite(tmp_path / f"f{number}.png", np.zeros((3, 5, 3), np.uint8))
    assert load_signal(tmp_path).kind == "video"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name.endswith(".wav"):
        wavfile.write(tmp_path / name, 8000, np.zeros(9, np.int16))
    else:
        imageio.imwrite(tmp_path / name, np.zeros((3, 4 if name == "f3.jpg" else 5, 3), np.uint8))
    with pytest.raises(DataError, match="holds 3 that are no frames"):
        load_signal(tmp_path)


def test_archives_need_one_array_and_no_objects(tmp_path):
    np.savez(tmp_path / "a.npz", elevation=np.ones((3, 4)), spacing=np.float32(30))
    assert load_signal(tmp_path / "a.npz").shape == (3, 4)
    np.savez(tmp_path / "b.npz", one=np.ones((3, 4)), two=np.ones((3, 4)))
    with pytest.raises(DataError, match="one, two"):
        load_signal(tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        load_signal(tmp_path / "c.npy")


@pytest.mark.parametrize("name", ["x.png", "x.wav", "x.mp4", "x.obj", "x.npy", "x.exr", "x.xyz"])
def test_broken_and_missing_files_are_named(tmp_path, name):
    with pytest.raises(DataError, match="does not exist"):
        load_signal(tmp_path / name)
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(DataError, match=name):
        load_signal(tmp_path / name)


def test_shape_of_a_mesh_file_keeps_its_frame(tmp_path):
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    box.apply_translation((5.0, 0.0, 0.0))
    box.export(tmp_path / "box.stl")
    shape = load_signal(tmp_path / "box.stl")
    assert isinstance(shape, Shape)
    torch.testing.assert_close(shape.distance(torch.tensor([[5.0, 0.0, 0.0]])), torch.tensor([-0.5]))
    assert shape.domain.minimum == pytest.approx((3.8, -1.2, -1.2))
    points = shape.surface_points(2000, torch.Generator().manual_seed(0))
    assert shape.distance(points).abs().max() < 1e-5
    # the two small ends have 2 of 10 units of area
    ends = ((points[:, 0] - 5).abs() > 1 - 1e-5).float().mean()
    assert ends == pytest.approx(0.2, abs=0.04)
    assert len(shape.mesh.vertices) == 8


def test_faces_of_vertices_that_are_not_there_are_named(tmp_path):
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "a.ply").write_text(f"{header}{faces}0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n")
    with pytest.raises(DataError, match=r"a\.ply is no mesh that can be read"):
        load_signal(tmp_path / "a.ply")


def test_glb_is_read_as_its_standard_says(tmp_path):
    """y is up there, and z here: 3 units high, and 5 units away."""
    tower = trimesh.creation.box((1.0, 3.0, 2.0))
    tower.apply_translation((0.0, 1.5, 5.0))
    tower.export(tmp_path / "tower.glb")
    shape = load_signal(tmp_path / "tower.glb")
    low, high = shape.mesh.vertices.aminmax(dim=0)
    assert (low.tolist(), high.tolist()) == ([-0.5, -6.0, 0.0], [0.5, -4.0, 3.0])
    assert shape.distance(torch.tensor([[0.0, -5.0, 2.9]])).item() == pytest.approx(-0.1)


def test_shapes_that_single_precision_distorts_are_refused(tmp_path):
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    box.apply_translation((448_000.0, 5_411_000.0, 0.0))
    box.export(tmp_path / "box.obj")
    with pytest.raises(DataError, match=r"box\.obj: The mesh of 2 units lies 5.411e\+06 .* by up to 0.32; move it"):
        load_signal(tmp_path / "box.obj")


def test_real_files(data_folder):
    portrait = load_signal(data_folder / "signals/image/albert.exr")
    assert (portrait.shape, portrait.channels) == ((1024, 1024), 4)
    mountain = load_signal(data_folder / "signals/dem/st_helens_30m.npz")
    assert len(mountain.known()) == pytest.approx(0.977 * 466 * 327, rel=0.01)
    video = load_signal(data_folder / "signals/video/cockatoo_frames")
    assert video.values.mean().item() == pytest.approx(0.4345, abs=1e-3)


def test_a_sound_whose_end_is_missing_is_refused_and_foreign_chunks_are_passed_over(tmp_path, recwarn):
    wavfile.write(tmp_path / "whole.wav", 8000, np.arange(400, dtype=np.int16))
    content = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "noted.wav").write_bytes(content + b"note\x04\x00\x00\x00abcd")
    assert load_signal(tmp_path / "noted.wav").shape == (400,)
    assert not recwarn.list
    (tmp_path / "cut.wav").write_bytes(content[:600])
    with pytest.raises(DataError, match=r"cut\.wav ends early"):
        load_signal(tmp_path / "cut.wav")
