"""The formats of sets of Gaussians by suffix, and the two verbs over them.

A format is a module with ``write(gaussians, file) -> notes`` and ``read(content, path) -> Gaussians``. ``.ply``,
``.glb`` and ``.html`` are formats of meshes, too: which of the two a file holds is in its first part, and which is to
be written a name such as ``scene.splat.glb`` says.
"""

from __future__ import annotations

import importlib
import logging
import os
import struct
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
import torch

from onefield.errors import DataError, UsageError, nearest_name
from onefield.export.formats import MESH_FORMATS, Export
from onefield.export.gaussian_glb import EXTENSION
from onefield.export.gaussian_html import MEDIA_TYPE
from onefield.fields.gaussian_sets import check_numbers, numbers_by_name
from onefield.fields.lobes import without_lobes
from onefield.files import write_atomically
from onefield.types import Gaussians

GAUSSIAN_FORMATS = {
    ".glb": "onefield.export.gaussian_glb",
    ".html": "onefield.export.gaussian_html",
    ".ply": "onefield.export.gaussian_ply",
    ".splat": "onefield.export.splat",
    ".spz": "onefield.export.spz",
}

# More than a header of 62 properties has.
_HEADER_BYTES = 2**14
# More than the scripts of a page have, before its content.
_PAGE_BYTES = 2**16
# What a GLB says first: magic, version, its length, that of its document; documents longer than this describe meshes.
_GLB_HEAD = struct.Struct("<4sIII")
_DOCUMENT_BYTES = 2**24
# Of an opacity that float32 can just tell from 0 and from 1.
_LOGIT = 16.0
# what parsing a broken file ends in
_UNSOUND = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    EOFError,
    OSError,
    struct.error,
)
_logger = logging.getLogger("onefield.export")


def export_gaussians(gaussians: Gaussians, path: str | os.PathLike[str]) -> Export:
    """Writes a set of Gaussians in the format that the path's suffix names, whole or not at all.

    They are written in the frame they are in; bring them to the dataset's frame first.

    Raises:
        UsageError: no format has this suffix.
        DataError: there are none, or one has a number that is not finite or a quaternion of length 0.
        ResourceError: the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    form = _format_of(path)
    if len(gaussians) == 0:
        raise DataError(f"There are no Gaussians to write to {path}; train longer, or lower what removes them.")
    checked(gaussians, f"The set for {path}")
    notes: list[str] = []
    if gaussians.lobes is not None:
        gaussians = without_lobes(gaussians)
        notes.append("Files of Gaussians hold no lobes; they became harmonics of degree 3, sharp highlights softer.")
    gaussians = _on_cpu(gaussians)

    def write(file: BinaryIO) -> None:
        notes.extend(form.write(gaussians, file))

    write_atomically(path, write)
    for note in notes:
        _logger.warning("%s: %s", path, note)
    return Export(path, path.stat().st_size, tuple(notes))


def _on_cpu(gaussians: Gaussians) -> Gaussians:
    """The numbers of a set without lobes, wherever it was trained."""
    named = ("means", "log_scales", "quaternions", "opacities")
    moved = {name: getattr(gaussians, name).detach().cpu() for name in named}
    return replace(gaussians, **moved, harmonics=tuple(band.detach().cpu() for band in gaussians.harmonics))


def read_gaussians(path: str | os.PathLike[str]) -> Gaussians:
    """Reads a set of Gaussians of any of the formats, in the file's frame.

    Raises:
        UsageError: no format has this suffix.
        DataError: the file is missing, cut short, contradicts itself, or holds numbers that mean nothing.
    """
    path = Path(path)
    form = _format_of(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
    try:
        # numbers beyond measure are refused below, in words
        with np.errstate(over="ignore", invalid="ignore"):
            gaussians = form.read(content, path)
    except _UNSOUND as error:
        raise DataError(f"{path} is no sound {path.suffix[1:]} file of Gaussians ({error}); write it again.") from error
    if len(gaussians) == 0:
        raise DataError(f"{path} holds no Gaussians; write it again from a set that has some.")
    # other programs write an opacity of 0 or 1 as an infinite logit
    logits = gaussians.opacities
    finite = torch.where(logits.isinf(), logits.clamp(-_LOGIT, _LOGIT), logits)
    return checked(replace(gaussians, opacities=finite), str(path))


def holds_gaussians(path: Path) -> bool:
    """Whether a file is one of Gaussians, by its suffix or, where meshes share it, by a name that meshes don't have."""
    suffix = path.suffix.lower()
    if suffix not in MESH_FORMATS:
        return suffix in GAUSSIAN_FORMATS
    with open(path, "rb") as file:
        if suffix == ".ply":
            return b"f_dc_0" in file.read(_HEADER_BYTES).partition(b"end_header")[0]
        if suffix == ".glb":
            head = file.read(_GLB_HEAD.size)
            length = _GLB_HEAD.unpack(head)[-1] if len(head) == _GLB_HEAD.size else 0
            return EXTENSION.encode() in file.read(min(length, _DOCUMENT_BYTES))
        if suffix == ".html":
            return MEDIA_TYPE.encode() in file.read(_PAGE_BYTES)
    return False


def named_for_gaussians(path: Path) -> bool:
    """Whether a name can only mean Gaussians: by its suffix, or by ``.splat`` before one that meshes share."""
    *before, suffix = "", *(part.lower() for part in path.suffixes)
    return suffix in GAUSSIAN_FORMATS and (suffix not in MESH_FORMATS or before[-1] == ".splat")


def checked(gaussians: Gaussians, where: str) -> Gaussians:
    """The same set, if it is whole and all of its numbers mean something.

    Args:
        where: begins the sentence of the error.

    Raises:
        DataError: more of one thing than of another, a number that is not finite, or a quaternion of length 0.
    """
    check_numbers(gaussians, where)
    named = {name: values.flatten(1) for name, values in numbers_by_name(gaussians).items()}
    if gaussians.lobes is not None:
        named["lobe"] = torch.cat([part.flatten(1) for part in vars(gaussians.lobes).values()], dim=1)
    for name, values in named.items():
        bad = ~torch.isfinite(values).all(dim=1)
        if name == "quaternion":
            bad |= ~values.any(dim=1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            shown = values[first][:4].tolist()
            raise DataError(f"{where}: Gaussian {first} has the {name} {shown}, which means nothing; remove it.")
    return gaussians


def _format_of(path: Path) -> ModuleType:
    suffix = path.suffix.lower()
    if suffix not in GAUSSIAN_FORMATS:
        raise UsageError(
            f"No format of Gaussians has the suffix '{suffix}' of {path}: "
            f"{nearest_name(suffix, tuple(GAUSSIAN_FORMATS))}."
        )
    return importlib.import_module(GAUSSIAN_FORMATS[suffix])
