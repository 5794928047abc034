"""One self-contained page in which a set of Gaussians can be turned and zoomed, without a network or another program.

The page is that of meshes with a script of its own, and the Gaussians lie inside as ``.splat`` in base64.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import BinaryIO

from onefield.export import splat
from onefield.export.html import content_of, page_around
from onefield.types import Gaussians

MEDIA_TYPE = "application/x-gaussian-splat"


def write(gaussians: Gaussians, file: BinaryIO) -> tuple[str, ...]:
    """The page; notes are those of ``.splat``, which the Gaussians are stored as."""
    content = io.BytesIO()
    notes = splat.write(gaussians, content)
    before, after = page_around(MEDIA_TYPE, "Gaussians", ("page.js", "page_gaussians.js"))
    file.write(before)
    file.write(base64.b64encode(content.getbuffer()))
    file.write(after)
    return notes


def read(content: bytes, path: Path) -> Gaussians:
    """The Gaussians out of a page that `write` made, with colours of degree 0.

    Raises:
        DataError: it is no such page, or not a whole one.
    """
    return splat.read(content_of(content, MEDIA_TYPE, path, "Gaussians"), path)
