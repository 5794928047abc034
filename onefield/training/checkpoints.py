"""Checkpoints that survive a crash at any moment, and that are checked before they are believed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.files import explain_write_errors, make_folder, sync_folder, write_atomically

SCHEMA = 1  # raised when the meaning of what is stored changes
_FORMAT = "onefield checkpoint"
_NAME = re.compile(r"step-(\d{6,})(?:-(\d+))?")  # a step saved again has a second number until the first is gone
_UNFINISHED = ".part"
_TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")
_STATE_FILE = "state.json"
_HEADER_START = 8  # of the JSON in a safetensors file
_PICKLE_SIGNS = (b"\x80", b"PK\x03\x04")  # a pickle's protocol mark; the archive around PyTorch's pickles
_logger = logging.getLogger("onefield.training")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as stored, tensors on the CPU.

    Attributes:
        path: its folder.
        step: how many steps were done.
        model, optimizer: tensors by name.
        state: the plain data that was saved along.
    """

    path: Path
    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict


class _BadCheckpoint(Exception):
    """One sentence on what is broken; an older checkpoint may still serve."""


def save_checkpoint(
    folder: str | Path,
    step: int,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, object],
    *,
    method: str,
    keep: int = 2,
) -> Path:
    """Writes ``step-000500/`` aside, flushes it to the disk and renames it; then drops what it replaces.

    All but the newest ``keep`` go, and those of later steps, which training abandoned when it resumed before them.

    Args:
        folder: the run's ``checkpoints`` folder, made where missing.
        step: how many steps were done.
        model, optimizer: tensors by name, on any device.
        state: plain JSON data.
        method: the method's name, checked when loading.
        keep: how many checkpoints stay, at least 1.

    Returns:
        The checkpoint's folder.

    Raises:
        UsageError: the state is not plain JSON data, or nothing would be kept.
        ResourceError: no space or no permission; what was saved before is untouched.
    """
    if keep < 1 or step < 0:
        raise UsageError(f"A checkpoint needs step >= 0 and keep >= 1, got {step} and {keep}.")
    folder = make_folder(folder)
    _remove_unfinished(folder)
    before = _saved(folder)
    final = folder / _free_name(step, before)
    aside = folder / f".{final.name}.{secrets.token_hex(4)}{_UNFINISHED}"
    header = _header(step, method, state)
    try:
        with explain_write_errors(final):
            aside.mkdir()
        for name, tensors in zip(_TENSOR_FILES, (model, optimizer), strict=True):
            content = safetensors.torch.save(_separate(tensors))
            header["sha256"][name] = hashlib.sha256(content).hexdigest()
            write_atomically(aside / name, content)
        header["sha256"][_STATE_FILE] = _digest(header)
        write_atomically(aside / _STATE_FILE, json.dumps(header, indent=1, allow_nan=False).encode())
        with explain_write_errors(final):
            os.rename(aside, final)
            sync_folder(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    older = [path for (number, _), path in before if number < step]
    for _, path in before:
        if path not in older[: keep - 1]:
            _discard(path)
    return final


def has_checkpoint(folder: str | Path) -> bool:
    """Whether anything was saved there, sound or not."""
    return bool(_saved(Path(folder)))


def newest_state(folder: str | Path) -> tuple[int, dict] | None:
    """Step and plain data of the newest checkpoint, without its tensors and unchecked, for those who report on a run.

    Returns:
        None where there is no checkpoint, or its data can't be read.
    """
    for (step, _), path in _saved(Path(folder)):
        try:
            state = json.loads((path / _STATE_FILE).read_text(encoding="utf-8")).get("state")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(state, dict):
            return step, state
    return None


def load_checkpoint(
    folder: str | Path,
    step: int | None = None,
    *,
    method: str | None = None,
    warn: Callable[[str], None] = _logger.warning,
) -> Checkpoint:
    """Reads the newest checkpoint that is whole, or the one of ``step``.

    A broken one is named in a warning and the one before it is taken, unless ``step`` asks for it.

    Args:
        folder: the run's ``checkpoints`` folder.
        step: which one; None takes the newest.
        method: the method that it must belong to; None takes any.
        warn: told in a sentence which checkpoint is broken.

    Raises:
        DataError: there is none, none is whole, or it belongs to another method or a newer Onefield.
    """
    folder = Path(folder)
    saved = _saved(folder)
    chosen = [(number, path) for (number, _), path in saved if step in (None, number)]
    if not chosen:
        listed = ", ".join(str(number) for (number, _), _ in reversed(saved))
        there = f"there are those of {listed}" if saved else "there are none yet, so train on by --resume"
        raise DataError(f"{folder} has no checkpoint{'' if step is None else f' of step {step}'}; {there}.")
    broken = []
    for number, path in chosen:
        try:
            checkpoint = _load(path, number, method)
        except _BadCheckpoint as cause:
            broken.append(str(cause))
            continue
        for sentence in broken:
            warn(f"{sentence} The checkpoint of step {number} is used instead.")
        return checkpoint
    raise DataError(f"{folder} has no whole checkpoint: {' '.join(broken)} Train again, or copy the run anew.")


def _header(step: int, method: str, state: Mapping[str, object]) -> dict:
    try:
        plain = json.loads(json.dumps(dict(state), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"A checkpoint's state must be plain finite JSON data: {error}.") from error
    version = importlib.metadata.version("onefield")
    return {
        "format": _FORMAT,
        "schema": SCHEMA,
        "onefield": version,
        "method": method,
        "step": step,
        "sha256": {},
        "state": plain,
    }


def _digest(header: dict) -> str:
    """Of all that state.json says, but for this number itself."""
    others = {name: value for name, value in header["sha256"].items() if name != _STATE_FILE}
    return hashlib.sha256(json.dumps({**header, "sha256": others}, sort_keys=True).encode()).hexdigest()


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors, none sharing memory with another, as the format wants them."""
    seen, separate = set(), {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return separate


def _saved(folder: Path) -> list[tuple[tuple[int, int], Path]]:
    """Step (and which saving of it) and folder of all checkpoints, newest first."""
    if not folder.is_dir():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((((int(match[1]), int(match[2] or 1)), path) for match, path in named if match), reverse=True)


def _free_name(step: int, saved: list[tuple[tuple[int, int], Path]]) -> str:
    saving = 1 + max((again for (number, again), _ in saved if number == step), default=0)
    return f"step-{step:06d}" + (f"-{saving}" if saving > 1 else "")


def _discard(path: Path) -> None:
    """Removes a checkpoint; renamed first, so that a half-removed one is never taken for a checkpoint."""
    if path.exists():
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        with explain_write_errors(path):
            os.rename(path, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f".step-*{_UNFINISHED}"):
        shutil.rmtree(path, ignore_errors=True)


def _load(path: Path, step: int, method: str | None) -> Checkpoint:
    header = _read_header(path / _STATE_FILE)
    if header["schema"] > SCHEMA:
        raise DataError(
            f"{path} was written by Onefield {header['onefield']} with schema {header['schema']}, but this Onefield "
            f"{importlib.metadata.version('onefield')} reads up to schema {SCHEMA}; update Onefield."
        )
    if _digest(header) != header["sha256"].get(_STATE_FILE) or header["step"] != step:
        raise _BadCheckpoint(f"{path / _STATE_FILE} does not have the content that was written.")
    if method not in (None, header["method"]):
        raise DataError(
            f"{path} belongs to method '{header['method']}', not '{method}'; use the configuration that the "
            "run was trained with."
        )
    model, optimizer = (_read_tensors(path / name, header["sha256"].get(name)) for name in _TENSOR_FILES)
    return Checkpoint(path, step, model, optimizer, header["state"])


def _read_header(path: Path) -> dict:
    try:
        header = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _BadCheckpoint(f"{path} can't be read: {error}.") from error
    expected = {"schema": int, "onefield": str, "method": str, "step": int, "sha256": dict, "state": dict}
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise _BadCheckpoint(f"{path} is not the state of a checkpoint.")
    for name, kind in expected.items():
        if not isinstance(header.get(name), kind):
            raise _BadCheckpoint(f"{path} lacks '{name}'.")
    return header


def _read_tensors(path: Path, digest: str | None) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _BadCheckpoint(f"{path} can't be read: {error}.") from error
    # the first bytes of a safetensors file are a length, which may look like anything; its header follows
    if content.startswith(_PICKLE_SIGNS) and content[_HEADER_START : _HEADER_START + 1] != b"{":
        raise _BadCheckpoint(f"{path} is a pickle under another name; pickles can run code and are never read.")
    if hashlib.sha256(content).hexdigest() != digest:
        raise _BadCheckpoint(f"{path} does not have the content that was written ({len(content):,} bytes now).")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError) as error:
        raise _BadCheckpoint(f"{path} is no safetensors file: {error}.") from error
