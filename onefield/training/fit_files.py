"""Writing a fit for people to look at, listen to, and open again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.data.slices import Slices
from onefield.files import make_folder, write_atomically
from onefield.training.fitted import Fitted
from onefield.types import Mesh

_DEFAULT_RATE = 44100
_SIXTEEN_BIT = 32767
# Of a level of eight bits, as single precision stores it.
_LEVEL_ROUNDING = 1e-3


def write_fit(fitted: Fitted, folder: str | Path, signal: Signal | Shape | Points | Slices | None = None) -> list[Path]:
    """Writes ``field.safetensors`` (if a recipe built the field) and the reconstruction in the signal's own kind.

    Images become PNG (and ``.npy`` where eight bits in [0, 1] can't hold their values), sounds WAV, videos a folder of
    PNG frames, volumes ``.npy``, shapes, points and slices PLY. Fields that tell deviations get ``deviation.npy``
    besides, of the signal's axes and channels.

    Args:
        fitted: what `fit` answered.
        folder: made if missing.
        signal: what was fitted; tells whether values are those of a file of pictures, and gives for images and videos
            of the answer's size a picture of the absolute difference, with ten times the contrast.

    Returns:
        The files written.
    """
    place = make_folder(folder)
    written = []
    if fitted.recipe is not None:
        fitted.save(place / "field.safetensors")
        written.append(place / "field.safetensors")
    if "deviation" in fitted.field.provides:
        written.append(_write_array(place / "deviation.npy", fitted.deviations()))
    answer = fitted.reconstruction()
    if isinstance(answer, Mesh):
        from onefield.export.formats import export_mesh

        if isinstance(signal, Points):
            origin = torch.tensor(signal.origin, dtype=torch.float64)
            answer = replace(answer, vertices=answer.vertices.double() + origin)
        export_mesh(answer, place / "reconstruction.ply")
        return [*written, place / "reconstruction.ply"]
    truth = signal.values if isinstance(signal, Signal) and signal.shape == fitted.shape else None
    if fitted.kind == "audio":
        rate = int(fitted.rate or _DEFAULT_RATE)
        return [*written, _write_sound(place / "reconstruction.wav", answer, rate)]
    if fitted.kind == "volume" or answer.shape[-1] > 4:
        return [*written, _write_array(place / "reconstruction.npy", answer)]
    low, high = fitted.target.offset - fitted.target.scale, fitted.target.offset + fitted.target.scale
    from_picture = isinstance(signal, Signal) and signal.value_range == 1
    as_in_picture = low >= 0 and high <= 1 and (from_picture or signal is None)
    if fitted.kind == "image" and not (as_in_picture and from_picture and _has_eight_bits(signal)):
        # a picture of 8 bits can't tell what its black and white mean, or what lies between two of its levels
        written.append(_write_array(place / "reconstruction.npy", answer))
    if as_in_picture:
        low, high = 0.0, 1.0
    written += _write_pictures(place, "reconstruction", (answer - low) / (high - low), fitted.kind)
    if truth is not None:
        difference = 10 * torch.nan_to_num(answer - truth).abs() / (high - low)
        difference[..., 3:] = 1.0
        written += _write_pictures(place, "difference", difference, fitted.kind)
    return written


def _has_eight_bits(signal: Signal) -> bool:
    """Whether all known values are levels of an ordinary picture."""
    levels = 255 * signal.values[torch.isfinite(signal.values)]
    return bool((levels - levels.round()).abs().max() < _LEVEL_ROUNDING)


def _write_array(path: Path, values: Tensor) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, values.numpy(), allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    return path


def _write_pictures(place: Path, name: str, values: Tensor, kind: str) -> list[Path]:
    """``values`` in [0, 1], one image or, for videos, one a frame."""
    import imageio.v3 as imageio

    levels = (values.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    levels = levels[..., 0] if levels.shape[-1] == 1 else levels
    frames = [(place / f"{name}.png", levels)]
    if kind == "video":
        folder = make_folder(place / name)
        frames = [(folder / f"{index:04d}.png", frame) for index, frame in enumerate(levels)]
    for path, frame in frames:
        write_atomically(path, imageio.imwrite("<bytes>", frame, extension=".png"))
    return [path for path, _ in frames]


def _write_sound(path: Path, values: Tensor, rate: int) -> Path:
    from scipy.io import wavfile

    buffer = io.BytesIO()
    wavfile.write(buffer, rate, (values.clamp(-1, 1) * _SIXTEEN_BIT).round().to(torch.int16).numpy())
    write_atomically(path, buffer.getvalue())
    return path
