"""Closed outlines of SVG drawings as polygons."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from onefield.data.svg_paths import CURVE_STEPS, finite, path_polygons
from onefield.data.xml_files import read_xml
from onefield.errors import DataError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")
# Elements that draw nothing themselves.
_UNDRAWN = frozenset({"defs", "symbol", "clipPath", "mask", "marker", "pattern", "metadata", "style", "title", "desc"})
_OUTLINES = frozenset({"path", "polygon", "polyline", "rect", "circle", "ellipse", "line"})


def read_svg(path: Path) -> list[Float[np.ndarray, "k 2"]]:
    """Every outline of a drawing in user units, y up: SVG's own y, which runs down, times -1.

    Paths, polygons, closed polylines, rectangles (their corners not rounded), circles and ellipses, with the transforms
    of groups; curves become 16 straight pieces. Filling, strokes, clips and ``use`` are not looked at.

    Raises:
        DataError: unreadable, no drawing, an outline that is open, or a number or transform that can't be read.
    """
    root = read_xml(path)
    if _name(root) != "svg":
        raise DataError(f"{path} holds <{_name(root)}> rather than <svg>; it is no drawing.")
    polygons: list[np.ndarray] = []
    waiting = [(root, np.eye(3))]
    while waiting:
        element, outer = waiting.pop()
        name = _name(element)
        if name in _UNDRAWN:
            continue
        matrix = outer @ _transform(element.get("transform", ""), str(path))
        if name in _OUTLINES:
            identity = element.get("id")
            said_by = f"{path}, {name}" + (f" '{identity}'" if identity else f" {len(polygons) + 1}")
            polygons += [polygon @ matrix[:2, :2].T + matrix[:2, 2] for polygon in _outline(element, name, said_by)]
        waiting += [(child, matrix) for child in reversed(element)]
    return [polygon * (1.0, -1.0) for polygon in polygons]


def _name(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _transform(text: str, where: str) -> np.ndarray:
    matrix = np.eye(3)
    for name, inner in _TRANSFORM.findall(text):
        numbers = [finite(number, where) for number in re.findall(_NUMBER, inner)]
        matrix = matrix @ _one_transform(name, numbers, where)
    return matrix


def _one_transform(name: str, numbers: list[float], where: str) -> np.ndarray:
    step = np.eye(3)
    if name == "matrix" and len(numbers) == 6:
        step[:2] = np.array(numbers).reshape(3, 2).T
    elif name == "translate" and len(numbers) in (1, 2):
        step[:2, 2] = [numbers[0], numbers[1] if len(numbers) > 1 else 0.0]
    elif name == "scale" and len(numbers) in (1, 2):
        step[0, 0], step[1, 1] = numbers[0], numbers[-1]
    elif name == "rotate" and len(numbers) in (1, 3):
        angle = math.radians(numbers[0])
        step[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        center = np.array(numbers[1:] or (0.0, 0.0))
        step[:2, 2] = center - step[:2, :2] @ center
    elif name in ("skewX", "skewY") and len(numbers) == 1:
        step[(0, 1) if name == "skewX" else (1, 0)] = math.tan(math.radians(numbers[0]))
    else:
        raise DataError(f"{where} has the transform '{name}' of {len(numbers)} numbers, which SVG does not know.")
    return step


def _length(element: ElementTree.Element, key: str, said_by: str, default: float = 0.0) -> float:
    text = element.get(key)
    if text is None:
        return default
    match = re.fullmatch(rf"\s*({_NUMBER})(?:px)?\s*", text)
    if match is None:
        raise DataError(f"{said_by}: '{key}' is {text[:40]!r}; write a plain number of user units.")
    return finite(match.group(1), said_by)


def _outline(element: ElementTree.Element, name: str, said_by: str) -> list[np.ndarray]:
    if name == "path":
        return path_polygons(element.get("d", ""), said_by)
    if name in ("polygon", "polyline"):
        numbers = np.array([finite(number, said_by) for number in re.findall(_NUMBER, element.get("points", ""))])
        if len(numbers) % 2:
            raise DataError(f"{said_by} has an odd number of coordinates; write pairs.")
        corners = numbers.reshape(-1, 2)
        if name == "polyline":
            if len(corners) < 2 or (corners[0] != corners[-1]).any():
                raise DataError(f"{said_by} is open; a contour must end where it began: close it, or take a polygon.")
            corners = corners[:-1]
        return [corners]
    if name == "line":
        raise DataError(f"{said_by} is open; a contour must end where it began: remove the line.")
    if name == "rect":
        x, y, width, height = (_length(element, key, said_by) for key in ("x", "y", "width", "height"))
        return [np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])]
    center = np.array([_length(element, "cx", said_by), _length(element, "cy", said_by)])
    radius = _length(element, "r", said_by)
    radii = [_length(element, key, said_by, radius) for key in ("rx", "ry")]
    turns = 2 * math.pi * np.arange(4 * CURVE_STEPS) / (4 * CURVE_STEPS)
    return [center + np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii]
