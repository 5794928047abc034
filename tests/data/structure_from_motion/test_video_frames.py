"""Frames of videos: the sharp and different ones, upright, whatever the rate."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from onefield.data.images import decode
from onefield.data.structure_from_motion.video_frames import choose_frames, extract_frames, sharpness_of
from onefield.errors import DataError


def wide_picture():
    generator = np.random.default_rng(0)
    return np.clip(128 + 400 * gaussian_filter(generator.standard_normal((96, 400)), 2), 0, 255).astype(np.uint8)


def moving(count, still=(), blurred=()):
    """A window that slides over a wide picture, standing still or blurred at some frames."""
    wide, at, frames = wide_picture(), 0, []
    for index in range(count):
        at += 0 if index in still else 6
        frame = wide[:, at : at + 128]
        frames.append(gaussian_filter(frame, 5) if index in blurred else frame)
    return frames


def write(path, frames, *options, rate=10):
    height, width = frames[0].shape
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray"]
    command += ["-s", f"{width}x{height}", "-r", str(rate), "-i", "-", "-c:v", "libx264", "-crf", "12"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *options, str(path)], input=np.stack(frames).tobytes(), check=True)
    return path


def ignore(done, total):
    pass


def test_sharpness_falls_with_blur_and_not_with_light():
    grey = wide_picture()
    sharp = sharpness_of(grey)
    assert sharpness_of(gaussian_filter(grey, 2)) < 0.6 * sharp
    assert sharpness_of((grey * 0.5).astype(np.uint8)) == pytest.approx(sharp, rel=0.15)
    assert sharpness_of(np.full((40, 40), 90, np.uint8)) == 0


def test_the_sharpest_of_each_stretch_is_kept():
    sharpness = np.array([1.0, 3, 1, 1, 1, 3.2, 3.1, 1, 1])
    thumbnails = np.random.default_rng(0).integers(0, 255, (9, 5, 5), dtype=np.uint8)
    chosen = choose_frames(sharpness, thumbnails, 3)
    assert chosen.indices == [1, 5, 6]
    assert (chosen.total, chosen.blurred, chosen.repeated) == (9, 0, 0)


def test_blurred_and_repeated_frames_are_dropped(tmp_path):
    video = write(tmp_path / "walk.mp4", moving(24, still=range(8, 12), blurred=range(16, 18)))
    chosen = extract_frames(video, tmp_path, 24, ignore)
    assert chosen.total == 24
    assert chosen.repeated == 4
    assert chosen.blurred == 2
    assert not {8, 9, 10, 11, 16, 17} & set(chosen.indices)
    stored = sorted(tmp_path.glob("*.jpg"))
    assert len(stored) == len(chosen.indices) == 18
    frames = moving(24, still=range(8, 12))
    for index, path in zip(chosen.indices, stored, strict=True):
        assert np.abs(decode(path)[..., 0].astype(float) - frames[index]).mean() < 8


def test_a_rotated_video_becomes_upright(tmp_path):
    plain = write(tmp_path / "plain.mp4", moving(6))
    turned = tmp_path / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90", "-i", str(plain)]
    subprocess.run([*command, "-c", "copy", str(turned)], check=True)
    (tmp_path / "out").mkdir()
    extract_frames(turned, tmp_path / "out", 6, ignore)
    first = decode(tmp_path / "out" / "00000.jpg")
    assert first.shape == (128, 96, 3)
    assert np.abs(first[..., 0].astype(float) - np.rot90(moving(6)[0])).mean() < 8


def test_a_variable_rate_changes_nothing(tmp_path):
    pause = "setpts='if(lt(N,6),N,N*4)/10/TB'"
    video = write(tmp_path / "variable.mp4", moving(12), "-vf", pause, "-fps_mode", "vfr")
    assert extract_frames(video, tmp_path, 12, ignore).total == 12


def test_looking_at_smaller_frames_warns_of_nothing(tmp_path, caplog):
    video = write(tmp_path / "large.mp4", [np.kron(frame, np.ones((4, 4), np.uint8)) for frame in moving(4)])
    assert extract_frames(video, tmp_path, 4, ignore).total == 4
    assert not caplog.records


def test_no_video_no_frames_and_no_motion_are_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(DataError, match=r"text\.mp4 is no video"):
        extract_frames(tmp_path / "text.mp4", tmp_path, 5, ignore)
    whole = write(tmp_path / "whole.mp4", moving(8))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut\.mp4"):
        extract_frames(tmp_path / "cut.mp4", tmp_path, 5, ignore)
    empty = tmp_path / "empty.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(whole), "-t", "0", str(empty)]
    subprocess.run(command, check=False)
    with pytest.raises(DataError, match=r"empty\.mp4"):
        extract_frames(empty, tmp_path, 5, ignore)
    still = write(tmp_path / "still.mp4", moving(10, still=range(10)))
    with pytest.raises(DataError, match="only 1 different views in 10 frames"):
        extract_frames(still, tmp_path, 5, ignore)
    assert not list(tmp_path.glob("0*.jpg"))
