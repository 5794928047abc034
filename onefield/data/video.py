"""Frames to a video file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import imageio.v2 as imageio
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.files import explain_write_errors

# Visually close to the pictures at a few megabits a second (imageio's scale from 0 to 10).
_QUALITY = 8


def write_video(path: str | Path, frames: Iterable[Float[Tensor, "H W 3"]], fps: int) -> None:
    """Writes pictures as an H.264 video; the file appears when it is complete.

    Args:
        path: file ending in .mp4.
        frames: RGB in [0, 1], sRGB, all of one even width and height.
        fps: frames a second.

    Raises:
        UsageError: fps below 1, another suffix, no frames, or frames of different sizes.
        ResourceError: the file can't be written.
    """
    if fps < 1:
        raise UsageError(f"A video needs at least 1 frame a second, got {fps}.")
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"Videos are written as .mp4, got {path}; choose such a name.")
    size = None
    # the encoder is a process of its own, which may create its file late: in a folder of its own it can leave nothing
    with explain_write_errors(path), tempfile.TemporaryDirectory(prefix=".video-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        with imageio.get_writer(partial, fps=fps, codec="libx264", quality=_QUALITY, macro_block_size=2) as writer:
            for frame in frames:
                size = frame.shape if size is None else size
                if frame.shape != size:
                    raise UsageError(
                        f"Frames of {path} have shapes {tuple(size)} and {tuple(frame.shape)}; make them alike."
                    )
                writer.append_data((frame.nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy())
        if size is None:
            raise UsageError(f"There are no frames for {path}; give one at least.")
        os.replace(partial, path)
