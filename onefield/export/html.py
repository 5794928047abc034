"""One self-contained page in which a mesh can be turned and zoomed, without a network or another program.

The page is `page.html` with its style and scripts put in, and the mesh inside as GLB in base64. What is drawn is chosen
by the media type of what lies inside: another kind of content is one more script that lists itself in ``CONTENTS``.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from onefield.errors import DataError
from onefield.export import glb
from onefield.export.arrays import Target
from onefield.types import Mesh

_MEDIA_TYPE = "model/gltf-binary"
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_CONTENT = re.compile(rb'<script id="content" type="([a-z/-]+)">([A-Za-z0-9+/=]*)</script>')
_END = b"</html>\n"


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """The page; notes are those of GLB, which the mesh is stored as, with colours at its vertices."""
    content = io.BytesIO()
    notes = glb.write(replace(mesh, texture=None), content, target)
    if mesh.texture is not None:
        notes += ("A page shows the colours at the vertices, no texture; export GLB or OBJ to keep it.",)
    before, after = page_around(_MEDIA_TYPE, "Mesh", ("page.js", "page_mesh.js"))
    file.write(before)
    file.write(base64.b64encode(content.getbuffer()))
    file.write(after)
    return notes


def read(content: bytes, path: Path) -> Mesh:
    """The mesh out of a page that `write` made."""
    return glb.read(content_of(content, _MEDIA_TYPE, path, "a mesh"), path)


def content_of(page: bytes, media_type: str, path: Path, what: str) -> bytes:
    """What lies inside a page.

    Raises:
        DataError: it is no whole page with such a content.
    """
    found = _CONTENT.search(page)
    if found is None or found[1] != media_type.encode() or not page.endswith(_END):
        raise DataError(f"{path} is no whole page with {what} in it as Onefield writes them; export it again.")
    return base64.b64decode(found[2], validate=True)


def page_around(media_type: str, title: str, scripts: tuple[str, ...]) -> tuple[bytes, bytes]:
    """What stands before and behind the content, which follows in base64.

    Args:
        scripts: names of the sources that draw it, in order.
    """
    slots = {
        "title": title,
        "style": _source("page.css"),
        "script": "".join(map(_source, scripts)),
        "media_type": media_type,
        "payload": "\0",
    }
    # in one pass, so that nothing that was put in is looked at again
    filled = _SLOT.sub(lambda slot: slots[slot[1]], _source("page.html"))
    before, _, after = filled.partition("\0")
    return before.encode(), after.encode()


def _source(name: str) -> str:
    return resources.files("onefield.export").joinpath(name).read_text(encoding="utf-8")
