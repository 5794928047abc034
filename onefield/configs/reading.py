"""Configurations as plain trees of dictionaries, and strictly back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from onefield.errors import UsageError, nearest_name


def to_plain(config: Any) -> Any:
    """A configuration as dictionaries and scalars; one of several alternatives says which under ``kind``."""
    if not dataclasses.is_dataclass(config):
        return dict(config) if isinstance(config, dict) else config
    plain = {"kind": config.kind} if "kind" in vars(type(config)) else {}
    return plain | {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def from_plain(kind: Any, plain: Any, path: str = "") -> Any:
    """Inverse of `to_plain`.

    Args:
        kind: the type to read: a dataclass, a union of dataclasses with ``kind``, a scalar type.
        path: dotted name of the place, for messages.

    Raises:
        UsageError: an unknown key (with the nearest valid one), a missing choice or a value of the wrong type.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return _from_union(kind, plain, path)
    if dataclasses.is_dataclass(kind):
        return _from_mapping(kind, plain, path)
    if typing.get_origin(kind) is dict:
        if not isinstance(plain, dict):
            raise UsageError(f"'{path}' must be a mapping, got {plain!r}.")
        _, value_type = typing.get_args(kind)
        return {str(key): from_plain(value_type, value, _join(path, str(key))) for key, value in plain.items()}
    return _scalar(kind, plain, path)


def changed(config: Any, assignments: list[str]) -> Any:
    """A configuration with values replaced by ``dotted.key=value`` texts, as typed on the command line, in their order.

    A new ``kind``, such as ``sampler.kind=proposal``, brings the defaults of that kind.

    Raises:
        UsageError: no ``=``, an unknown key or a value of the wrong type.
    """
    import yaml

    plain = to_plain(config)
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"'{text}' is no assignment; write it as key=value, such as training.steps=2000.")
        *parents, last = key.strip().split(".")
        place = plain
        for name in parents:
            if not isinstance(place, dict) or name not in place:
                raise UsageError(f"Unknown key '{key}': {nearest_name(key, dotted_keys(to_plain(config)))}.")
            place = place[name]
        if not isinstance(place, dict) or (last not in place and place is not plain.get("losses")):
            raise UsageError(f"Unknown key '{key}': {nearest_name(key, dotted_keys(to_plain(config)))}.")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"The value of '{key}' can't be read: {value!r}.") from error
        if last == "kind" and read != place[last]:
            # another kind has other keys: it starts from its own defaults
            place.clear()
            place[last] = read
            plain = to_plain(from_plain(type(config), plain))
        else:
            place[last] = read
    return from_plain(type(config), plain)


def dotted_keys(plain: dict, prefix: str = "") -> list[str]:
    """All keys of a plain configuration, as `changed` takes them."""
    keys = []
    for name, value in plain.items():
        keys += dotted_keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return keys


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _from_union(kind: Any, plain: Any, path: str) -> Any:
    alternatives = typing.get_args(kind)
    if type(None) in alternatives:
        if plain is None:
            return None
        (remaining,) = [alternative for alternative in alternatives if alternative is not type(None)]
        return from_plain(remaining, plain, path)
    by_kind = {alternative.kind: alternative for alternative in alternatives}
    chosen = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(chosen, str) or chosen not in by_kind:
        raise UsageError(f"Unknown '{_join(path, 'kind')}' {chosen!r}: {nearest_name(str(chosen), tuple(by_kind))}.")
    return _from_mapping(by_kind[chosen], {k: v for k, v in plain.items() if k != "kind"}, path)


def _from_mapping(kind: Any, plain: Any, path: str) -> Any:
    if not isinstance(plain, dict):
        raise UsageError(f"'{path or 'the configuration'}' must be a mapping, got {plain!r}.")
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    for key in plain:
        if key not in names:
            raise UsageError(f"Unknown key '{_join(path, str(key))}': {nearest_name(str(key), tuple(names))}.")
    return kind(**{key: from_plain(hints[key], value, _join(path, key)) for key, value in plain.items()})


def _scalar(kind: Any, plain: Any, path: str) -> Any:
    if kind is float and isinstance(plain, int | float | str) and not isinstance(plain, bool):
        try:
            return float(plain)  # YAML reads 1e-3 as text
        except ValueError:
            pass
    elif isinstance(plain, kind) and isinstance(plain, bool) == (kind is bool):
        return plain
    raise UsageError(f"'{path}' must be of type {kind.__name__}, got {plain!r}.")
