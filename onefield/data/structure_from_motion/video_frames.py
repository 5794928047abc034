"""Choosing frames of a video: the sharpest of each stretch, without blurred ones and those that show nothing new.

The video is decoded twice: small and grey to look at every frame, then in full to keep the chosen ones. ffmpeg turns
rotated videos upright by itself, and frames are counted as they are stored, so a variable rate changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from onefield.data.structure_from_motion.photos import FEWEST_PHOTOS
from onefield.data.structure_from_motion.pictures import write_picture
from onefield.errors import DataError, first_line

# Height at which every frame is looked at: blur of a pixel or two of the full picture still shows.
_LOOK_HEIGHT = 360
# A frame with less than this share of the sharpness around it is blurred.
_BLURRED = 0.5
# Two frames that differ by less than this share of their contrast show the same.
_SAME_VIEW = 0.04
_STORED_RATE = ["-fps_mode", "passthrough"]
_THUMBNAIL_STEP = 6


@dataclass(frozen=True)
class ChosenFrames:
    """Indices of frames to keep, and how many were in the video, left out as blurred, and as showing nothing new."""

    indices: list[int]
    total: int
    blurred: int
    repeated: int


def choose_frames(
    sharpness: Float[np.ndarray, "n"], thumbnails: Sequence[UInt8[np.ndarray, "h w"]], target: int
) -> ChosenFrames:
    """The frames to keep.

    Args:
        sharpness: of each frame, see `sharpness_of`; larger is sharper.
        thumbnails: small grey pictures.
        target: how many frames to keep at most.
    """
    total = len(sharpness)
    edges = np.unique(np.linspace(0, total, min(target, total) + 1).round().astype(int))
    best = [int(start + np.argmax(sharpness[start:end])) for start, end in pairwise(edges)]
    kept: list[int] = []
    blurred = repeated = 0
    for position, index in enumerate(best):
        around = sharpness[best[max(0, position - 5) : position + 6]]
        if sharpness[index] < _BLURRED * np.median(around):
            blurred += 1
            continue
        thumbnail = thumbnails[index].astype(np.float32)
        if kept and np.abs(thumbnail - thumbnails[kept[-1]]).mean() <= _SAME_VIEW * float(thumbnail.std()):
            repeated += 1
            continue
        kept.append(index)
    return ChosenFrames(kept, total, blurred, repeated)


def sharpness_of(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Mean magnitude of the Laplacian over the contrast: falls with blur, not with light (after Pertuz et al. 2013)."""
    values = grey.astype(np.float32)
    laplacian = 4 * values[1:-1, 1:-1] - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]
    # of noise in a picture of one colour, so that it doesn't count as sharp
    least_contrast = 4.0
    return float(np.abs(laplacian).mean() / max(float(values.std()), least_contrast))


def extract_frames(video: Path, folder: Path, target: int, observe: Callable[[int, int], None]) -> ChosenFrames:
    """Writes the chosen frames as ``00000.jpg``, ``00001.jpg``, ... and says what was left out.

    Args:
        target: frames to keep at most.
        observe: told how many frames are done, and the total of the first pass (0 where not known yet).

    Raises:
        DataError: no video, no frames, or fewer than three different ones.
        ResourceError: the folder can't be written.
    """
    sharpness, thumbnails = [], []
    for grey in _frames(video, "gray", ["-vf", f"scale=-2:'min({_LOOK_HEIGHT},ih)'"]):
        sharpness.append(sharpness_of(grey))
        # copied, since it would keep all of its frame in memory
        thumbnails.append(grey[::_THUMBNAIL_STEP, ::_THUMBNAIL_STEP].copy())
        observe(len(sharpness), 0)
    if not sharpness:
        raise DataError(f"{video} has no frames; record it again, or give a folder of photos.")
    chosen = choose_frames(np.array(sharpness), thumbnails, target)
    if len(chosen.indices) < FEWEST_PHOTOS:
        raise DataError(
            f"{video} shows only {len(chosen.indices)} different views in {chosen.total} frames; move around the scene "
            "while recording."
        )
    wanted = {index: number for number, index in enumerate(chosen.indices)}
    for index, frame in enumerate(_frames(video, "rgb24", [])):
        if index in wanted:
            write_picture(frame, folder / f"{wanted[index]:05d}.jpg")
        observe(index + 1, chosen.total)
        if index >= chosen.indices[-1]:
            break
    return chosen


@contextmanager
def _unwarned(logger: logging.Logger) -> Iterator[None]:
    """The first pass asks for smaller frames than the video's, and its reader would warn the user of that."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _frames(video: Path, pixels: str, more: list[str]) -> Iterator[UInt8[np.ndarray, "..."]]:
    import imageio_ffmpeg

    depth = 1 if pixels == "gray" else 3
    reader = imageio_ffmpeg.read_frames(
        str(video), pix_fmt=pixels, bits_per_pixel=8 * depth, output_params=[*_STORED_RATE, *more]
    )
    with closing(reader):
        try:
            with _unwarned(logging.getLogger("imageio_ffmpeg")):
                width, height = next(reader)["size"]
            shape = (height, width) if depth == 1 else (height, width, depth)
            for frame in reader:
                yield np.frombuffer(frame, np.uint8).reshape(shape)
        except GeneratorExit:
            raise
        except Exception as error:  # the reader passes on whatever the decoder's process died of
            raise DataError(
                f"{video} is no video that can be read ({first_line(error)}); convert it to MP4."
            ) from error
