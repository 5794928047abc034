"""The folder of one run: its layout, its lock, and the files that are not checkpoints."""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from onefield.errors import DataError, ResourceError, UsageError
from onefield.files import explain_write_errors, make_folder, write_atomically

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_WINDOWS_MAY_ASK = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_TRIES = 5  # of two processes that take over a dead one's lock at once, one has won by then


@dataclass(frozen=True)
class RunFolder:
    """``runs/<scene>/<method>-<time>/``: config.yaml, scene.json, metrics.jsonl, log.txt, checkpoints, eval, export.

    Attributes:
        path: the run's own folder.
    """

    path: Path

    @staticmethod
    def create(parent: str | Path, scene: str, method: str, *, time: datetime | None = None) -> RunFolder:
        """Makes a new run's folder; a second run of the same second gets a number behind its name.

        Args:
            parent: the folder of all runs, made where missing.
            scene, method: names; signs that file systems dislike become dashes.
            time: when it started; now where not given.

        Raises:
            ResourceError: the folder can't be made or written.
        """
        started = time or datetime.now()
        scene_folder = make_folder(Path(parent) / _file_name(scene))
        stem = f"{_file_name(method)}-{started:%Y%m%d-%H%M%S}"
        number = 1
        while True:
            path = scene_folder / (stem if number == 1 else f"{stem}-{number}")
            try:
                with explain_write_errors(path):
                    path.mkdir()
            except ResourceError as error:
                if not isinstance(error.__cause__, FileExistsError):
                    raise
                number += 1
                continue
            return RunFolder(path)

    @staticmethod
    def create_at(path: str | Path) -> RunFolder:
        """Makes a new run's folder at a place of the user's choice, which must be free or an empty folder.

        Raises:
            UsageError: something is there already.
            ResourceError: the folder can't be made or written.
        """
        path = Path(path)
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise UsageError(f"{path} is not empty; give a new folder, or resume the run there with --resume.")
        return RunFolder(make_folder(path))

    @staticmethod
    def is_run(path: str | Path) -> bool:
        """Whether a folder is a run."""
        return RunFolder(Path(path)).config_file.is_file()

    @staticmethod
    def find(path: str | Path) -> RunFolder:
        """The run at a folder, or the newest one below it.

        Raises:
            DataError: there is none.
        """
        if RunFolder.is_run(path):
            return RunFolder(Path(path))
        below = [config.parent for pattern in ("*/config.yaml", "*/*/config.yaml") for config in Path(path).glob(pattern)]
        if not below:
            return RunFolder.open(path)
        return RunFolder(max(below, key=lambda run: (run / "config.yaml").stat().st_mtime))

    @staticmethod
    def open(path: str | Path) -> RunFolder:
        """An existing run.

        Raises:
            DataError: there is no run in that folder.
        """
        run = RunFolder(Path(path))
        if not run.config_file.is_file():
            raise DataError(f"{path} is not a run: it has no config.yaml; give a folder such as runs/<scene>/<run>.")
        return run

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def scene_file(self) -> Path:
        return self.path / "scene.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        return self.path / "eval"

    @property
    def export(self) -> Path:
        return self.path / "export"

    def write_config(self, config: Mapping[str, object]) -> None:
        """Writes plain data as config.yaml, in the given order."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_atomically(self.config_file, text.encode())

    def read_config(self) -> dict:
        """The plain data of config.yaml.

        Raises:
            DataError: missing or broken.
        """
        try:
            config = yaml.safe_load(self.config_file.read_bytes())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            place = " ".join(str(error).split())
            raise DataError(f"{self.config_file} can't be read: {place}; restore it or train again.") from error
        if not isinstance(config, dict):
            raise DataError(f"{self.config_file} holds no settings; restore it or train again.")
        return config

    def write_scene(self, document: Mapping[str, object]) -> None:
        """Writes plain data as scene.json."""
        write_atomically(self.scene_file, json.dumps(dict(document), indent=1, allow_nan=False).encode())

    def read_scene(self) -> dict:
        """The plain data of scene.json.

        Raises:
            DataError: missing or broken.
        """
        try:
            document = json.loads(self.scene_file.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{self.scene_file} can't be read: {error}; restore it or train again.") from error
        if not isinstance(document, dict):
            raise DataError(f"{self.scene_file} holds no scene; restore it or train again.")
        return document

    def append_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one line to metrics.jsonl; a value that is not finite is written as null.

        Args:
            step: how many steps were done when it was measured.
            values: numbers by name.
        """
        plain = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        with explain_write_errors(self.metrics_file), open(self.metrics_file, "ab") as file:
            file.write(json.dumps({"step": step, **plain}).encode() + b"\n")

    def read_metrics(self) -> list[dict]:
        """All whole lines of metrics.jsonl; a line cut off by a crash is left out."""
        if not self.metrics_file.is_file():
            return []
        records = []
        for line in self.metrics_file.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
        return records

    def truncate_metrics(self, step: int) -> None:
        """Forgets what was measured after ``step`` steps: training resumes there and measures it again."""
        kept = [json.dumps(record) + "\n" for record in self.read_metrics() if record["step"] <= step]
        write_atomically(self.metrics_file, "".join(kept).encode())

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Within the context everything that Onefield logs is also added to log.txt."""
        with explain_write_errors(self.log_file):
            handler = logging.FileHandler(self.log_file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("onefield")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the context this process is the only one that trains in the folder.

        A lock left by a process that died on this machine is taken over.

        Raises:
            ResourceError: another process holds it, or the folder can't be written.
        """
        mine = json.dumps(
            {"pid": os.getpid(), "host": socket.gethostname(), "started": _process_start(os.getpid())}
        ).encode()
        for _ in range(_TRIES):
            if self._take_lock(mine):
                break
            self._remove_dead_lock()
        else:
            raise ResourceError(f"{self.lock_file} changes hands again and again; see which processes train there.")
        try:
            yield
        finally:
            if _read_bytes(self.lock_file) == mine:
                self.lock_file.unlink(missing_ok=True)

    def _take_lock(self, content: bytes) -> bool:
        prepared = self.path / f".lock.{secrets.token_hex(4)}.part"
        with explain_write_errors(self.lock_file):
            prepared.write_bytes(content)
            try:
                _link(prepared, self.lock_file)
            except FileExistsError:
                return False
            finally:
                prepared.unlink(missing_ok=True)
        return True

    def _remove_dead_lock(self) -> None:
        found = _read_bytes(self.lock_file)
        if found is None:  # released in the meantime
            return
        try:
            holder = json.loads(found)
            pid, host, started = int(holder["pid"]), str(holder["host"]), holder["started"]
        except (ValueError, KeyError, TypeError) as error:
            raise ResourceError(
                f"{self.lock_file} is no lock of Onefield's; remove it if nothing trains in this folder."
            ) from error
        if host != socket.gethostname() or _is_running(pid, started):
            raise ResourceError(
                f"{self.path} is in use by process {pid} on {host}; wait for it, or choose another folder. "
                f"If it is long dead, remove {self.lock_file}."
            )
        aside = self.lock_file.with_name(f".lock.{secrets.token_hex(4)}.dead")
        try:
            os.replace(self.lock_file, aside)
        except FileNotFoundError:
            return
        if _read_bytes(aside) != found:  # another process took over between reading and moving: give it back
            os.replace(aside, self.lock_file)
            return
        aside.unlink(missing_ok=True)


def _file_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("-", name).strip("-.") or "unnamed"


def _link(prepared: Path, final: Path) -> None:
    """Gives a finished file a name that must be free: unlike one created and then written, it is never seen empty."""
    try:
        os.link(prepared, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(final, "xb") as file:
            file.write(prepared.read_bytes())


def _read_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _process_start(pid: int) -> str | None:
    """When a process started, in the clock ticks of Linux, so that a number used again is not taken for the old one.

    None elsewhere; ``"dead"`` for one that ended and was not yet collected by its parent.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "dead" if after_name[0] == "Z" else after_name[19]  # fields 3 and 22 of proc(5)


def _is_running(pid: int, started: str | None) -> bool:
    if os.name != "posix":
        return bool(ctypes.windll.kernel32.OpenProcess(_WINDOWS_MAY_ASK, False, pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    now = _process_start(pid)
    return started is None or now is None or now == started
