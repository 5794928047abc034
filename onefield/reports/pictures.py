"""Pictures on pages: encoded inside the page, and numbers as colours that colour-blind eyes can order."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

# From dark blue over grey to light yellow: lightness rises all the way, and blue against yellow is what nearly all
# colour-blind eyes keep apart.
_RAMP = np.array(
    [[8, 12, 60], [28, 52, 118], [78, 92, 128], [122, 124, 124], [170, 158, 106], [220, 200, 80], [255, 244, 150]],
    dtype=np.float64,
)
# Mean error over the channels that is drawn in the lightest colour; larger ones look the same.
ERROR_SHOWN = 0.25
_QUALITY = 85
# Behind pixels without a surface.
EMPTY = (128, 128, 128)
_FADED_TO = 0.25


def data_address(pixels: UInt8[np.ndarray, "H W 3"], longest_side: int) -> str:
    """A picture as a ``data:`` address (JPEG), made smaller where a side is longer than ``longest_side`` pixels."""
    picture = Image.fromarray(pixels)
    scale = longest_side / max(picture.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def ramp_colors(values: Float[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b 3"]:
    """Values in [0, 1] (others are clamped) as colours from dark blue to light yellow."""
    places = np.linspace(0, 1, len(_RAMP))
    clamped = np.clip(np.nan_to_num(values), 0, 1)
    return np.stack([np.interp(clamped, places, _RAMP[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def ramp_style() -> str:
    """The same colours as a CSS background, from left to right."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _RAMP.tolist())
    return f"background: linear-gradient(to right, {stops})"


def error_colors(truth: UInt8[np.ndarray, "H W 3"], rendered: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Mean absolute difference over the channels as colours; `ERROR_SHOWN` and more are the lightest."""
    difference = np.abs(truth.astype(np.float64) - rendered.astype(np.float64)).mean(axis=-1) / 255
    return ramp_colors(difference / ERROR_SHOWN)


def faded(pixels: UInt8[np.ndarray, "H W 3"], columns: int) -> UInt8[np.ndarray, "H W 3"]:
    """A picture whose first columns are nearly grey: they are no part of what it tells."""
    picture = pixels.copy()
    kept = pixels[:, :columns].astype(np.float64) * _FADED_TO
    picture[:, :columns] = (kept + (1 - _FADED_TO) * np.array(EMPTY)).round().astype(np.uint8)
    return picture


def depth_colors(
    depths: Float[np.ndarray, "H W"], seen: Float[np.ndarray, "H W"]
) -> tuple[UInt8[np.ndarray, "H W 3"], tuple[float, float] | None]:
    """Distances as colours, near dark and far light, grey where ``seen`` (opacity) is below a half.

    Returns:
        The picture, and the distances that the darkest and the lightest colour stand for; None where nothing is seen.
    """
    solid = (seen >= 0.5) & np.isfinite(depths)
    picture = np.full((*depths.shape, 3), EMPTY, dtype=np.uint8)
    if not solid.any():
        return picture, None
    # a few stray pixels must not take all the contrast
    low, high = (float(value) for value in np.percentile(depths[solid], [1, 99]))
    spread = high - low if high > low else 1.0
    picture[solid] = ramp_colors((depths[solid] - low) / spread)
    return picture, (low, high)


def normal_colors(normals: Float[np.ndarray, "H W 3"], seen: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Unit normals as colours: x, y and z of the world from -1 to 1 as red, green and blue; grey where nothing is."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    colors = np.clip((unit + 1) / 2 * 255, 0, 255).round().astype(np.uint8)
    colors[seen < 0.5] = EMPTY
    return colors
