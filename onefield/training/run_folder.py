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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from onefield.errors import DataError, ResourceError, UsageError
from onefield.files import explain_write_errors, make_folder, write_atomically

_CONFIG = "config.yaml"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_WINDOWS_MAY_ASK = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_TRIES = 5  # of two processes that take over a dead one's lock at once, one has won by then


@dataclass(frozen=True)
class RunFolder:
    """``runs/<scene>/<method>-<time>/``: what is in it stands in docs/architecture.md.

    Attributes:
        path: the run's own folder.
    """

    path: Path

    @staticmethod
    def new_path(root: str | Path, scene: str, method: str, *, time: datetime | None = None) -> Path:
        """A free place for a run, not made yet: ``<root>/<scene>/<method>-<time>``, with a number if that is taken.

        Args:
            root: the folder of all runs.
            scene, method: names; signs that file systems dislike become dashes.
            time: when it started; now where not given.
        """
        started = time or datetime.now()
        path = Path(root) / _file_name(scene) / f"{_file_name(method)}-{started:%Y%m%d-%H%M%S}"
        candidate, number = path, 2
        while candidate.exists():
            candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
        return candidate

    @staticmethod
    def create(path: str | Path) -> RunFolder:
        """Makes a run's folder, with its subfolders and parents.

        Raises:
            UsageError: there is something in it already.
            ResourceError: it can't be made or written.
        """
        path = make_folder(path)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty; give a new folder, or go on with a run there by --resume.")
        run = RunFolder(path)
        for folder in (run.checkpoints, run.evaluation, run.exports):
            make_folder(folder)
        return run

    @staticmethod
    def is_run(path: str | Path) -> bool:
        """Whether the folder is that of a run."""
        return (Path(path) / _CONFIG).is_file()

    @staticmethod
    def find(path: str | Path) -> RunFolder:
        """The run in a folder, or the newest of the runs below it (at most two levels, as in ``runs/``).

        Raises:
            DataError: there is none.
        """
        path = Path(path)
        if RunFolder.is_run(path):
            return RunFolder(path)
        below = [*path.glob(f"*/{_CONFIG}"), *path.glob(f"*/*/{_CONFIG}")]
        if not below:
            found = f"holds no run: no {_CONFIG} there" if path.exists() else "does not exist"
            raise DataError(f"{path} {found}; give a folder such as runs/<scene>/<run>.")
        return RunFolder(max(below, key=lambda config: (config.stat().st_mtime, config.parent.name)).parent)

    @property
    def config(self) -> Path:
        return self.path / _CONFIG

    @property
    def scene(self) -> Path:
        return self.path / "scene.json"

    @property
    def machine(self) -> Path:
        return self.path / "machine.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        return self.path / "lock.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        return self.path / "eval"

    @property
    def exports(self) -> Path:
        return self.path / "export"

    @property
    def placements(self) -> Path:
        return self.exports / "placements.json"

    @property
    def crop(self) -> Path:
        return self.path / "crop.json"

    def write_config(self, text: str) -> None:
        """Writes config.yaml."""
        write_atomically(self.config, text.encode())

    def read_config(self) -> str:
        """The text of config.yaml.

        Raises:
            DataError: it can't be read.
        """
        return _read_text(self.config)

    def write_scene(self, facts: Mapping[str, object]) -> None:
        """Writes plain data as scene.json."""
        write_atomically(self.scene, _plain_json(facts))

    def read_scene(self) -> dict:
        """The plain data of scene.json.

        Raises:
            DataError: it can't be read, or holds no object.
        """
        facts = _read_json(self.scene)
        if facts is None:
            raise DataError(f"{self.scene} is missing; restore it or train again.")
        return facts

    def write_placement(self, name: str, matrix: list[list[float]]) -> None:
        """Remembers where an exported mesh stands.

        Args:
            name: of the file in the folder of exports.
            matrix: 4 x 4, from the scene's frame to the coordinates that reading the file gives.
        """
        write_atomically(self.placements, _plain_json((_read_json(self.placements) or {}) | {name: matrix}))

    def read_placement(self, name: str) -> list[list[float]] | None:
        """The matrix of `write_placement`; None where none was written.

        Raises:
            DataError: the file can't be read.
        """
        return (_read_json(self.placements) or {}).get(name)

    def write_machine(self, facts: Mapping[str, object]) -> None:
        """Writes plain data about the machine that trains as machine.json."""
        write_atomically(self.machine, _plain_json(facts))

    def read_machine(self) -> dict | None:
        """The plain data of machine.json; None where it was not written.

        Raises:
            DataError: it can't be read, or holds no object.
        """
        return _read_json(self.machine)

    def write_evaluation(self, result: Mapping[str, object], split: str) -> None:
        """Writes plain data as ``eval/<split>.json``."""
        make_folder(self.evaluation)
        write_atomically(self.evaluation / f"{_file_name(split)}.json", _plain_json(result))

    def read_evaluation(self, split: str) -> dict | None:
        """The plain data of ``eval/<split>.json``; None where that was not written.

        Raises:
            DataError: it can't be read, or holds no object.
        """
        return _read_json(self.evaluation / f"{_file_name(split)}.json")

    def append_metrics(self, record: Mapping[str, object]) -> None:
        """Adds one line to metrics.jsonl; numbers that are not finite are written as null.

        Args:
            record: plain data; its ``step`` says how many steps were done when it was measured.
        """
        with explain_write_errors(self.metrics), open(self.metrics, "ab") as file:
            file.write(json.dumps(_finite(dict(record))).encode() + b"\n")

    def read_metrics(self) -> list[dict]:
        """All whole lines of metrics.jsonl; a line cut off by a crash is left out."""
        if not self.metrics.is_file():
            return []
        records = []
        for line in self.metrics.read_bytes().splitlines():
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
        write_atomically(self.metrics, "".join(kept).encode())

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Within the context everything that Onefield logs, from INFO on, is also added to log.txt."""
        with explain_write_errors(self.log):
            handler = _LogFile(self.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("onefield")
        level = logger.level
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            with suppress(OSError):  # lines that a full disk did not take
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
            raise ResourceError(f"{self.lock} changes hands again and again; see which processes train there.")
        try:
            yield
        finally:
            if _read_bytes(self.lock) == mine:
                self.lock.unlink(missing_ok=True)

    def _take_lock(self, content: bytes) -> bool:
        prepared = self.path / f".lock.{secrets.token_hex(4)}.part"
        with explain_write_errors(self.lock):
            prepared.write_bytes(content)
            try:
                _link(prepared, self.lock)
            except FileExistsError:
                return False
            finally:
                prepared.unlink(missing_ok=True)
        return True

    def _remove_dead_lock(self) -> None:
        found = _read_bytes(self.lock)
        if found is None:  # released in the meantime
            return
        try:
            holder = json.loads(found)
            pid, host, started = int(holder["pid"]), str(holder["host"]), holder["started"]
        except (ValueError, KeyError, TypeError) as error:
            raise ResourceError(
                f"{self.lock} is no lock of Onefield's; remove it if nothing trains in this folder."
            ) from error
        if host != socket.gethostname() or _is_running(pid, started):
            raise ResourceError(
                f"{self.path} is in use by process {pid} on {host}; wait for it, or choose another folder. "
                f"If it is long dead, remove {self.lock}."
            )
        aside = self.lock.with_name(f".lock.{secrets.token_hex(4)}.dead")
        try:
            os.replace(self.lock, aside)
        except FileNotFoundError:
            return
        if _read_bytes(aside) != found:  # another process took over between reading and moving: give it back
            os.replace(aside, self.lock)
            return
        aside.unlink(missing_ok=True)


class _LogFile(logging.FileHandler):
    """A log whose lines are left out where they can't be written: the run says what is wrong with the disk."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing, where the library would print a traceback."""


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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}; restore it or train again.") from error


def _read_json(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        facts = json.loads(_read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is broken JSON: {error}; restore it or train again.") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path} holds no facts; restore it or train again.")
    return facts


def _plain_json(data: Mapping[str, object]) -> bytes:
    return json.dumps(_finite(dict(data)), indent=1, allow_nan=False).encode()


def _finite(value: object) -> object:
    """JSON has no word for what is not finite but null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


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
