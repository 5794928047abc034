"""A small field and a small picture, cheap enough for a test each."""

from __future__ import annotations

import numpy as np

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import ValueHead
from onefield.fields.networks import Siren
from onefield.types import Bounds


def waves(height: int, width: int) -> np.ndarray:
    """Smooth and without any symmetry, in [0, 1]; ``h w 1`` as float32."""
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / width
    return (0.5 + 0.25 * np.sin(7 * x + 2 * y) + 0.2 * np.cos(5 * y * (1 + x)))[..., None].astype(np.float32)


def sines(height: int, width: int, w0: float = 10.0) -> ComposedField:
    """A sine network of one value on a picture's domain."""
    domain = Bounds((0.0, 0.0), (width / max(height, width), height / max(height, width)))
    return ComposedField(domain, IdentityEncoding(2), Siren(2, 1, 24, 1, w0=w0), [ValueHead(0.5, 0.5)])
