"""Reading XML that someone else wrote: no document types, so no entities; numbers finite; errors name the place."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from onefield.errors import DataError

_LARGEST_FILE = 256 << 20
# Without brackets it declares nothing.
_PUBLIC_TYPE = re.compile(r"<!DOCTYPE\s[^\[<>]*>")


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of a file in UTF-8.

    Raises:
        DataError: unreadable, too large, broken (with line and column), or with a document type that has a body.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{path} has more than {_LARGEST_FILE:,} bytes; that is too large.")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as XML in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); export it again.") from error
    # SVG drawings name their type by a public document, which is never opened.
    text = _PUBLIC_TYPE.sub("", text, count=1)
    # Entities, which could grow without end or name other files, need a document type with a body.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path} has a document type, which is refused; export it again.")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise DataError(f"{path} is broken XML at line {line}, column {column}; export it again.") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"{path} is no XML that can be read ({error}); export it again.") from error


def numbers_at(
    element: ElementTree.Element,
    name: str,
    count: int,
    said_by: str,
    default: Float[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "n"]:
    """The numbers in a child element, float64; ``default`` where there is no such child.

    Raises:
        DataError: absent without default, another count, or something that is no finite number.
    """
    child = element.find(name)
    if child is None:
        if default is None:
            raise DataError(f"{said_by} lacks '{name}'; export the file again.")
        return default
    text = child.text or ""
    try:
        numbers = np.array([float(word) for word in text.split()], dtype=np.float64)
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        shown = text.strip()
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise DataError(f"{said_by}: '{name}' must hold {count} finite numbers, got {shown!r}.")
    return numbers


def number_at(element: ElementTree.Element, name: str, said_by: str, default: float | None = None) -> float:
    """One number in a child element; see `numbers_at`.

    Raises:
        DataError: as `numbers_at`.
    """
    return float(numbers_at(element, name, 1, said_by, None if default is None else np.array([default]))[0])
