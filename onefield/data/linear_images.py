"""Pictures of linear light, OpenEXR and Radiance HDR: their floats as stored, and how they become ordinary pictures.

OpenImageIO reads them, of the extra ``hdr``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from onefield.errors import DataError
from onefield.extras import extra_library

if TYPE_CHECKING:
    import OpenImageIO

_FIRST_BYTES = {".exr": b"\x76\x2f\x31\x01", ".hdr": b"#?"}
LINEAR_SUFFIXES = tuple(_FIRST_BYTES)


@dataclass(frozen=True)
class LinearHeader:
    """What a file says before its pixels are decoded.

    Attributes:
        width, height: of the display window, which is what cameras see.
        stored_width, stored_height: of the window that has pixels, which may cover less, or more.
        alpha: there is a channel of opacity beside the colours.
    """

    width: int
    height: int
    stored_width: int
    stored_height: int
    alpha: bool


def is_linear(path: Path) -> bool:
    """True for files with a suffix of linear pictures."""
    return path.suffix.lower() in LINEAR_SUFFIXES


def read_linear_header(path: Path) -> LinearHeader:
    """Size and kind of an existing EXR or HDR file.

    Raises:
        DataError: no such picture, or without colours.
        ResourceError: OpenImageIO is not installed.
    """
    with _opened(path) as file:
        spec = file.spec()
        alpha = len(_color_channels(spec, path)) in (2, 4)
        return LinearHeader(spec.full_width, spec.full_height, spec.width, spec.height, alpha)


def read_linear(path: Path) -> Float[np.ndarray, "H W c"]:
    """The display window's values as stored: grey, RGB or RGBA (1, 3 or 4 channels), linear, alpha premultiplied.

    Where the stored pixels don't cover the window there are zeros. Grey with alpha becomes RGBA.

    Raises:
        DataError: no such picture, truncated, or without colours.
        ResourceError: OpenImageIO is not installed.
    """
    with _opened(path) as file:
        spec = file.spec()
        chosen = _color_channels(spec, path)
        stored = file.read_image("float")
        if stored is None:
            raise DataError(f"{path} is truncated or damaged ({_reason(file.geterror())}); replace or remove it.")
    picture = np.zeros((spec.full_height, spec.full_width, len(chosen)), dtype=np.float32)
    left, top = spec.x - spec.full_x, spec.y - spec.full_y
    right, bottom = min(left + spec.width, spec.full_width), min(top + spec.height, spec.full_height)
    if right > max(left, 0) and bottom > max(top, 0):
        covered = stored[max(-top, 0) : bottom - top, max(-left, 0) : right - left][..., chosen]
        picture[max(top, 0) : bottom, max(left, 0) : right] = covered
    return picture[..., [0, 0, 0, 1]] if len(chosen) == 2 else picture


def read_single_channel(path: Path) -> Float[np.ndarray, "h w"]:
    """The numbers of a picture that has one channel, whatever it is called: depth, say.

    Raises:
        DataError: no such picture, truncated, or with several channels.
        ResourceError: OpenImageIO is not installed.
    """
    with _opened(path) as file:
        spec = file.spec()
        if spec.nchannels != 1:
            raise DataError(f"{path} has {spec.nchannels} channels; a depth image has one.")
        stored = file.read_image("float")
        if stored is None:
            raise DataError(f"{path} is truncated or damaged ({_reason(file.geterror())}); replace or remove it.")
    return stored.reshape(spec.height, spec.width)


def eight_bits(linear: Float[np.ndarray, "H W c"]) -> UInt8[np.ndarray, "H W k"]:
    """Linear values as an ordinary picture, RGB or RGBA: sRGB-encoded, alpha straight.

    Premultiplied colours are divided by alpha (and are black where it is 0), then clipped to [0, 1] without tone
    mapping; NaN counts as 0. Alpha is not encoded.
    """
    known = np.nan_to_num(linear, nan=0.0, posinf=np.inf, neginf=0.0)
    if linear.shape[-1] == 1:
        known = np.repeat(known, 3, axis=-1)
    colors, alpha = known[..., :3], known[..., 3:].clip(0, 1)
    if alpha.shape[-1]:
        colors = np.divide(colors, alpha, out=np.zeros_like(colors), where=alpha > 0)
    encoded = np.concatenate([srgb_from_linear(colors.clip(0, 1)), alpha], axis=-1)
    return np.rint(encoded * 255).astype(np.uint8)


def srgb_from_linear(linear: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """IEC 61966-2-1, encoding; values in [0, 1]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@contextmanager
def _opened(path: Path) -> Iterator[OpenImageIO.ImageInput]:
    library = extra_library("OpenImageIO", "hdr", str(path), ", or convert the picture")
    # else the library would try all its readers on whatever bears the suffix
    with path.open("rb") as content:
        if not content.read(len(_FIRST_BYTES[".exr"])).startswith(_FIRST_BYTES[path.suffix.lower()]):
            raise DataError(f"{path} is not the kind of image that its name says; replace or remove it.")
    file = library.ImageInput.open(str(path))
    if file is None:
        reason = _reason(library.geterror())
        raise DataError(f"{path} is not an image that can be read ({reason}); replace or remove it.")
    try:
        yield file
    finally:
        file.close()


def _reason(said: str) -> str:
    return (said.splitlines() or ["no reason given"])[0].rstrip(".")


def _color_channels(spec: OpenImageIO.ImageSpec, path: Path) -> list[int]:
    """Places of R G B, or Y, and A where there is one: of the picture itself, else of its first layer with colours."""
    places = {name: place for place, name in enumerate(spec.channelnames)}
    prefixes = ["", *(name[: -len(last)] for name in places for last in ("R", "Y") if name.endswith(f".{last}"))]
    for prefix in prefixes:
        for colors in ("RGB", "Y"):
            names = [prefix + color for color in colors]
            # chroma channels say that Y is no grey, but the luminance of a coloured picture
            if all(name in places for name in names) and prefix + "RY" not in places:
                return [places[name] for name in (*names, prefix + "A") if name in places]
    raise DataError(
        f"{path} has the channels {', '.join(places)[:200]}, but no R, G, B and no grey Y; save it with those."
    )
