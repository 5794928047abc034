"""Reading JSON that someone else wrote: limits on size and depth, finite numbers only, errors that name the place."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onefield.errors import DataError

# A transforms file of 100,000 frames has about 60 MB; nothing that describes cameras or contours is larger.
_LARGEST_FILE = 128 << 20
# Files of cameras and of slices nest four deep.
_DEEPEST = 32
_LONGEST_SIDE = 1_000_000  # pixels
# A string that has no end goes on to the text's, so that what is within it is not looked at again and again.
_STRUCTURE = re.compile(r'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class JsonObject:
    """A JSON object with typed access; every error names the file and the key.

    Attributes:
        values: the parsed object.
        where: file and path of keys, for messages.
    """

    values: dict
    where: str

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; ``default`` where the key is absent.

        Raises:
            DataError: absent without default, or no number.
        """
        if key not in self:
            if default is None:
                raise DataError(f"{self.where} lacks '{key}'; add it (a number).")
            return default
        return _as_number(self.values[key], f"{self.where}: '{key}'")

    def pixels(self, key: str) -> int:
        """A side of an image, rounded to whole pixels.

        Raises:
            DataError: absent, no number, or no image has that many pixels.
        """
        side = self.number(key)
        if not 1 <= side <= _LONGEST_SIDE:
            raise DataError(f"{self.where}: '{key}' is {side}; it must be pixels of the image.")
        return round(side)

    def object(self, key: str) -> JsonObject:
        """An object inside this one.

        Raises:
            DataError: absent or anything else.
        """
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise DataError(f"{self.where}: '{key}' must be an object, got {_shown(value)}.")
        return JsonObject(value, f"{self.where}: {key}")

    def text(self, key: str) -> str:
        """A string.

        Raises:
            DataError: absent or no string.
        """
        value = self.values.get(key)
        if not isinstance(value, str) or not value:
            raise DataError(f"{self.where}: '{key}' must be a string, got {_shown(value)}.")
        return value

    def flag(self, key: str) -> bool:
        """True or false; absent is false. The numbers 0 and 1 count, as some writers use them.

        Raises:
            DataError: anything else.
        """
        value = self.values.get(key, False)
        if value is None:
            return False
        if value not in (0, 1):
            raise DataError(f"{self.where}: '{key}' must be true or false, got {_shown(value)}.")
        return bool(value)

    def objects(self, key: str) -> list[JsonObject]:
        """A list of objects.

        Raises:
            DataError: absent, or anything else.
        """
        value = self.values.get(key)
        if not isinstance(value, list):
            raise DataError(f"{self.where}: '{key}' must be a list of objects, got {_shown(value)}.")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise DataError(f"{self.where}: {key}[{index}] must be an object, got {_shown(item)}.")
        return [JsonObject(item, f"{self.where}: {key}[{index}]") for index, item in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        """A list of strings.

        Raises:
            DataError: absent, or anything else.
        """
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(f"{self.where}: '{key}' must be a list of strings, got {_shown(value)}.")
        return value

    def array(self, key: str, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
        """Nested lists of finite numbers as float64, in one of ``shapes``.

        Raises:
            DataError: absent, ragged, of another shape, or with something that is no number.
        """
        value = self.values.get(key)
        for shape in shapes:
            if _has_shape(value, shape):
                numbers = [_as_number(item, f"{self.where}: '{key}'") for item in _flattened(value)]
                return np.array(numbers, dtype=np.float64).reshape(shape)
        wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
        raise DataError(f"{self.where}: '{key}' must hold {wanted} numbers, got {_shown(value)}.")


def read_json_object(path: Path) -> JsonObject:
    """A JSON file whose top level is an object.

    Raises:
        DataError: unreadable, too large, too deep, broken (with line and column), or with numbers that are not finite.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise DataError(f"{path} has {size} bytes, more than the {_LARGEST_FILE} that are read at most.")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as JSON in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    _check_depth(path, text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is broken JSON at line {error.lineno}, column {error.colno}: {error.msg}; correct it there."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON that can be read: {error}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object at its top, got {_shown(value)}.")
    _check_finite(path, value)
    return JsonObject(value, str(path))


def _check_depth(path: Path, text: str) -> None:
    depth = 0
    for match in _STRUCTURE.finditer(text):
        sign = match.group()
        if sign in "[{":
            depth += 1
            if depth > _DEEPEST:
                line = text.count("\n", 0, match.start()) + 1
                raise DataError(
                    f"{path} nests more than {_DEEPEST} levels deep (line {line}); no file of cameras or slices does."
                )
        elif sign in "]}":
            depth -= 1


def _check_finite(path: Path, top: dict) -> None:
    pending: list[tuple[str, object]] = [("", top)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"{path}: '{key.lstrip('.')}' is {value}; only finite numbers are meaningful there.")
        if isinstance(value, dict):
            pending.extend((f"{key}.{name}", item) for name, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{key}[{index}]", item) for index, item in enumerate(value))


def _as_number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where} must be a number, got {_shown(value)}.")
    try:
        return float(value)
    except OverflowError as error:
        raise DataError(f"{where} is too large a number.") from error


def _has_shape(value: object, shape: tuple[int, ...]) -> bool:
    if not shape:
        return not isinstance(value, list | dict)
    return isinstance(value, list) and len(value) == shape[0] and all(_has_shape(item, shape[1:]) for item in value)


def _flattened(value: object) -> list[object]:
    if not isinstance(value, list):
        return [value]
    return [item for part in value for item in _flattened(part)]


def _shown(value: object) -> str:
    """A value as a message may show it: short."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
