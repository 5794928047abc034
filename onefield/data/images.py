"""Decoding pictures by one set of rules, whatever the file.

EXIF orientation is applied; 16-bit greys are scaled to 8 bits; grey, palette and CMYK become RGB; alpha is kept
straight (not premultiplied); the first frame of an animation is taken. Linear pictures (EXR, HDR) are clipped to [0, 1]
and sRGB-encoded. The size is read from the header and refused above 100 megapixels before any pixel is decoded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from onefield.data.linear_images import eight_bits, is_linear, read_linear, read_linear_header
from onefield.errors import DataError, UsageError
from onefield.files import write_atomically

LARGEST_PIXELS = 100_000_000
_ORIENTATION_TAG = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BIT = 65535
_WHITE = 255


@dataclass(frozen=True)
class ImageHeader:
    """What a file says before its pixels are decoded.

    Attributes:
        width, height: after the EXIF orientation was applied.
        stored_width, stored_height: as the pixels lie in the file.
        alpha: pictures of this file decode to RGBA.
        linear: the file holds linear light, which decoding clips and encodes as sRGB.
    """

    width: int
    height: int
    stored_width: int
    stored_height: int
    alpha: bool
    linear: bool = False


def read_header(path: Path) -> ImageHeader:
    """Size and kind of an image file.

    Raises:
        DataError: missing, empty, no image, or more than 100 megapixels.
        ResourceError: the library that reads EXR and HDR is not installed.
    """
    if is_linear(path):
        return _linear_header(path)
    with _opened(path) as image:
        width, height = image.size
        swapped = _orientation(image) >= 5
        alpha = image.has_transparency_data
    across, down = (height, width) if swapped else (width, height)
    return ImageHeader(across, down, width, height, alpha)


def decode(path: Path, size: tuple[int, int] | None = None, *, oriented: bool = True) -> np.ndarray:
    """The picture as uint8, height x width x 3, or x 4 where the file has transparency.

    Args:
        size: width and height to resample to by exact area averages (alpha-weighted); None keeps the file's.
        oriented: apply the EXIF orientation; False takes the pixels as they lie in the file.

    Raises:
        DataError: missing, empty, truncated, no image, or more than 100 megapixels.
        ResourceError: the library that reads EXR and HDR is not installed.
    """
    if is_linear(path):
        _linear_header(path)
        picture = Image.fromarray(eight_bits(read_linear(path)))
    else:
        with _opened(path) as image:
            orientation = _orientation(image) if oriented else 1
            picture = _turned(_to_eight_bits(_loaded(image, path)), orientation)
    if size is not None and picture.size != size:
        # Pillow weights colours by alpha here.
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture)


def decode_mask(path: Path, size: tuple[int, int], *, oriented: bool = True) -> np.ndarray:
    """A mask as bool, height x width: True where the file is brighter than half.

    Files that hold only 0 and 1 count as bilevel, and of files with transparent pixels the alpha is the mask. Another
    size is resampled to the nearest pixel.

    Raises:
        DataError: as `decode`.
    """
    grey = _grey_mask(path, oriented)
    if grey.size != size:
        grey = grey.resize(size, Image.Resampling.NEAREST)
    return np.asarray(grey) > _WHITE // 2


def decode_outline(path: Path, size: tuple[int, int], *, oriented: bool = True) -> np.ndarray:
    """A mask as the share of each pixel that it marks, uint8, height x width.

    Files are read as by `decode_mask`. Another size is resampled by exact area averages, as pictures are.

    Raises:
        DataError: as `decode`.
    """
    grey = _grey_mask(path, oriented)
    if grey.size != size:
        grey = grey.resize(size, Image.Resampling.BOX)
    return np.asarray(grey)


def _grey_mask(path: Path, oriented: bool) -> Image.Image:
    """Black to white as the file has it; only those two where its values are 0 and 1.

    Of a file with transparent pixels it is the alpha: a cut-out's colours are the photo's.
    """
    with _opened(path) as image:
        orientation = _orientation(image) if oriented else 1
        picture = _loaded(image, path)
        if picture.mode.startswith("I") and np.asarray(picture).max(initial=0) <= 1:
            # before 16 bits become 8, of which a 1 would be none
            picture = Image.fromarray(np.asarray(picture).clip(0).astype(np.uint8))
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        if alpha is not None and alpha.getextrema()[0] < _WHITE:
            return _turned(alpha, orientation)
        grey = picture.convert("RGB").convert("L") if picture.mode == "P" else _to_eight_bits(picture).convert("L")
        grey = _turned(grey, orientation)
    values = np.asarray(grey)
    return Image.fromarray(values * np.uint8(_WHITE)) if values.size and values.max() <= 1 else grey


def decode_raw_integers(path: Path) -> np.ndarray:
    """A single-channel picture's stored numbers as float32 (depth images of 8 or 16 bits, or float TIFF).

    Raises:
        DataError: as `decode`, or several channels.
    """
    with _opened(path) as image:
        values = np.asarray(_loaded(image, path), dtype=np.float32)
    if values.ndim != 2:
        raise DataError(f"{path} has {values.shape[-1]} channels; a depth image has one.")
    return values


def write_image(path: str | Path, image: Float[Tensor, "H W c"]) -> None:
    """Writes values in [0, 1] (1, 3 or 4 channels; others are clamped) as an 8-bit PNG, whole or not at all.

    Raises:
        UsageError: the path doesn't end in .png, or the image has another number of channels.
        ResourceError: the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png" or image.dim() != 3 or image.shape[2] not in (1, 3, 4):
        raise UsageError(f"Pictures are written as .png with 1, 3 or 4 channels, got {path} and {tuple(image.shape)}.")
    values = (image.detach().cpu().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(stream, format="PNG")
    write_atomically(path, stream.getvalue())


def _check_content(path: Path) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; restore the image or remove it from the dataset.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not an image that can be read ({error}); replace or remove it.") from error
    if size == 0:
        raise DataError(f"{path} is empty (0 bytes); restore the image or remove it from the dataset.")


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise DataError(f"{path} is {width} x {height}, more than {LARGEST_PIXELS:,} pixels; store a smaller image.")


def _linear_header(path: Path) -> ImageHeader:
    _check_content(path)
    header = read_linear_header(path)
    _check_size(path, header.width, header.height)
    _check_size(path, header.stored_width, header.stored_height)
    return ImageHeader(header.width, header.height, header.width, header.height, header.alpha, linear=True)


def _opened(path: Path) -> Image.Image:
    _check_content(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} has more than {LARGEST_PIXELS:,} pixels; store a smaller image.") from error
    except Exception as error:  # Pillow's readers raise nearly any kind on broken files.
        raise DataError(f"{path} is not an image that can be read ({error}); replace or remove it.") from error
    try:
        _check_size(path, *image.size)
    except DataError:
        image.close()
        raise
    return image


def _loaded(image: Image.Image, path: Path) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise nearly any kind on broken files.
        raise DataError(f"{path} is truncated or damaged ({error}); replace or remove it.") from error
    return image


def _orientation(image: Image.Image) -> int:
    # A PNG may hold EXIF data behind its pixels; to know that, Pillow would decode all of them.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # A broken EXIF block doesn't make the picture unusable.
        return 1
    return value if value in _TRANSPOSITIONS else 1


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    operation = _TRANSPOSITIONS.get(orientation)
    return picture if operation is None else picture.transpose(operation)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image, dtype=np.float64), 0, _SIXTEEN_BIT) * (255 / _SIXTEEN_BIT)
        image = Image.fromarray(np.round(values).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(0, 1) * 255
        image = Image.fromarray(np.round(values).astype(np.uint8))
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == wanted else image.convert(wanted)
