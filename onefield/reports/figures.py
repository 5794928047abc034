"""Figures as people read them: one notation for commands and pages."""

from __future__ import annotations

import math

# What a score is called, and with how many decimals it is told.
_SCORES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "ms_ssim": ("MS-SSIM", 4),
    "lpips": ("LPIPS", 4),
    "views": ("views", 0),
    "turned": ("turned, °", 3),
    "moved": ("moved, units", 4),
    "recolored": ("colours changed by", 4),
}
_OTHER_DIGITS = 4
MISSING = "-"


def duration(seconds: float) -> str:
    """Seconds as people say them, such as ``3m 20s``."""
    if math.isinf(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"


def score_name(key: str) -> str:
    """What a score of an evaluation is called."""
    return _SCORES[key][0] if key in _SCORES else key.replace("_", " ")


def score_text(key: str, value: object) -> str:
    """A score with the decimals that mean something; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if key in _SCORES:
        return f"{value:.{_SCORES[key][1]}f}"
    return str(value) if isinstance(value, int) else f"{value:.{_OTHER_DIGITS}g}"


def gigabytes(size: float) -> str:
    """Bytes of memory as GiB."""
    return f"{size / 1024**3:.1f} GiB"
