"""Reading the files that signals come from, to plain arrays."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import torch

from onefield.data.arrays import load_npy, load_npz
from onefield.data.linear_images import LINEAR_SUFFIXES, is_linear, read_linear
from onefield.errors import DataError, first_line
from onefield.kernels.system import memory_available
from onefield.types import Mesh

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", *LINEAR_SUFFIXES)
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif")
MESH_SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
# The standard of these says that y is up; all else is taken as it is.
_Y_UP_SUFFIXES = (".glb", ".gltf")

# An array of bytes is held as it is read, as floats, and as what is made of these.
_BYTES_PER_BYTE = 9
# The PNG header's colour types with several channels: their format in ffmpeg and channels.
_PNG_SIXTEEN = {2: ("rgb48le", 3), 4: ("ya16le", 2), 6: ("rgba64le", 4)}
_PNG_HEADER = 26
_PNG_DEPTH_AT, _PNG_COLOR_AT = 24, 25


def read_picture(path: Path) -> np.ndarray:
    """Rows, columns and, where there are several, channels, in the file's own number type.

    Raises:
        DataError: not a picture that can be decoded.
        ResourceError: the library that reads EXR and HDR is not installed.
    """
    if is_linear(path):
        return read_linear(path)
    with path.open("rb") as file:
        head = file.read(_PNG_HEADER)
    sixteen = head.startswith(b"\x89PNG") and len(head) == _PNG_HEADER and head[_PNG_DEPTH_AT] == 16
    if sixteen and head[_PNG_COLOR_AT] in _PNG_SIXTEEN:
        # Pillow would cut these to 8 bits
        pixels, channels = _PNG_SIXTEEN[head[_PNG_COLOR_AT]]
        frame, (width, height), _ = _ffmpeg_frame(path, pixels, 16 * channels)
        return np.frombuffer(frame, "<u2").reshape(height, width, channels).astype(np.uint16)
    import imageio.v3 as imageio

    try:
        picture = np.asarray(imageio.imread(path))
    except Exception as error:  # decoders of a dozen formats raise nearly any kind on broken files
        raise DataError(f"{path} is no picture that can be read ({first_line(error)}).") from error
    # Pillow reads 16-bit greys as int32
    return picture.astype(np.uint16) if picture.dtype == np.int32 and sixteen else picture


def _ffmpeg_frame(path: Path, pixels: str, bits: int) -> tuple[bytes, tuple[int, int], str]:
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt=pixels, bits_per_pixel=bits)
    try:
        facts = next(reader)
        return next(reader), facts["size"], facts["pix_fmt"]
    except Exception as error:  # the reader passes on whatever the decoder's process died of
        raise DataError(f"{path} is no picture that can be read ({first_line(error)}).") from error
    finally:
        reader.close()


def read_frames(folder: Path) -> np.ndarray:
    """All pictures of a folder as frames, in the order of the numbers in their names.

    Raises:
        DataError: none, or of different shapes.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise DataError(f"{folder} has no pictures; a video needs its frames there.")
    paths.sort(key=lambda path: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)])
    frames = [read_picture(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape or frame.dtype != frames[0].dtype:
            raise DataError(
                f"{path} has shape {frame.shape} of {frame.dtype}, but {paths[0].name} has {frames[0].shape} of "
                f"{frames[0].dtype}; frames must be alike."
            )
    stacked = np.stack(frames)
    return stacked if stacked.ndim == 4 else stacked[..., None]


def read_video(path: Path) -> tuple[np.ndarray, float]:
    """Frames, rows, columns, RGB as uint8, and the frames a second.

    Raises:
        DataError: no video that can be decoded.
    """
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    try:
        facts = next(reader)
        width, height = facts["size"]
        frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    except Exception as error:  # the reader passes on whatever the decoder's process died of
        raise DataError(f"{path} is no video that can be read ({first_line(error)}).") from error
    finally:
        reader.close()
    if not frames:
        raise DataError(f"{path} has no frames.")
    return np.stack(frames), float(facts["fps"])


def read_audio(path: Path) -> tuple[np.ndarray, float]:
    """Samples and channels as float32 (integers as parts of full scale), and the samples a second.

    Raises:
        DataError: no WAV file, or one that ends early or has no samples.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            # chunks of other programs' notes are none of ours, but a missing end is
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except wavfile.WavFileWarning as error:
        raise DataError(f"{path} ends early ({first_line(error)}); copy it anew.") from error
    except Exception as error:  # the reader raises ValueError, struct.error, EOFError, ... on broken files
        raise DataError(f"{path} is no WAV file that can be read ({first_line(error)}).") from error
    if samples.size == 0:
        raise DataError(f"{path} has no samples.")
    if samples.dtype == np.uint8:
        scaled = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        scaled = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    else:
        scaled = samples.astype(np.float32)
    return scaled if scaled.ndim == 2 else scaled[:, None], float(rate)


def read_array(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file, or the one array with at least one axis of an ``.npz`` file.

    Raises:
        DataError: unreadable, with Python objects, several such arrays, or larger than the memory that is free.
    """
    largest = memory_available() // _BYTES_PER_BYTE
    if path.suffix.lower() == ".npy":
        return load_npy(path, largest)
    arrays = load_npz(path, largest)
    large = [name for name, array in arrays.items() if array.ndim > 1] or [n for n, a in arrays.items() if a.ndim]
    if len(large) != 1:
        raise DataError(f"{path} should have one array, but has {', '.join(arrays) or 'none'}; keep the one to fit.")
    return arrays[large[0]]


def read_mesh(path: Path) -> Mesh:
    """A triangle mesh with vertices merged by position, z up where its format says which axis is up.

    Raises:
        DataError: no mesh that can be read, or one without faces.
    """
    import trimesh

    try:
        loaded = trimesh.load(path, force="mesh", process=False)
        if len(getattr(loaded, "faces", ())):
            loaded.merge_vertices(merge_tex=True, merge_norm=True)
    except Exception as error:  # trimesh's readers raise nearly any kind on broken files
        raise DataError(f"{path} is no mesh that can be read ({first_line(error)}).") from error
    faces = np.asarray(getattr(loaded, "faces", ()))
    if faces.size == 0:
        raise DataError(f"{path} has no faces; a signed distance needs a surface.")
    vertices = np.asarray(loaded.vertices)
    if path.suffix.lower() in _Y_UP_SUFFIXES:
        vertices = vertices[:, [0, 2, 1]] * (1, -1, 1)
    return Mesh(torch.tensor(vertices, dtype=torch.float32), torch.tensor(np.asarray(loaded.faces), dtype=torch.int64))
