"""The command line that repeats a run, derived from its configuration."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from onefield.configs.presets import preset
from onefield.configs.reading import to_plain
from onefield.configs.runs import RunConfig

# These have options of their own, in this notation.
_OPTIONS = {"training.steps": "--steps", "training.seconds": "--time", "training.seed": "--seed"}
_LOSSES = "losses."
_TOKEN = re.compile(r"[\w.+-]+")


def train_command(config: RunConfig) -> list[str]:
    """The words of a command that trains with this configuration: what differs from the preset and the defaults.

    Raises:
        UsageError: the configuration starts from a preset that does not exist.
    """
    words = ["onefield", "train", config.scene, "--method", config.method.method]
    defaults = {f.name: f.default for f in dataclasses.fields(RunConfig)}
    for name, value in to_plain(config).items():
        if name not in ("scene", "method", "schema") and value != defaults[name]:
            words += _option(f"--{name.replace('_', '-')}", value)
    settings = []
    for key, value in _differences(to_plain(preset(config.method.method)), to_plain(config.method)):
        if key == "training.seconds" and value is not None:
            words += ["--time", f"{value!r}s"]
        elif key in _OPTIONS and value is not None:
            words += [_OPTIONS[key], str(value)]
        else:
            settings.append(f"{key}={_text(value)}")
    return [*words, "--set", *settings] if settings else words


def flattened(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's values by dotted key."""
    values: dict[str, Any] = {}
    for name, value in plain.items():
        values |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    old, new = flattened(before), flattened(after)
    # another kind starts from its own defaults, so all of its values are said, behind it
    switched = tuple(key.removesuffix("kind") for key in new if key.endswith(".kind") and old.get(key) != new[key])
    for key, value in sorted(new.items(), key=lambda item: not item[0].endswith(".kind")):
        if key not in old or old[key] != value or key.startswith(switched):
            yield key, value
    # a loss that the preset has and this run leaves out; its weight is all that can be said on a command line
    yield from ((key, 0.0) for key in old if key.startswith(_LOSSES) and key not in new)


def _option(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, *map(str, value)] if isinstance(value, list | tuple) else [flag, str(value)]


def _text(value: Any) -> str:
    """A scalar as YAML reads it back."""
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("\n...\n").strip()
