"""``onefield process`` as a program: stopped by Ctrl-C and begun again, and what people read."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onefield.data.structure_from_motion import processing
from onefield.data.structure_from_motion.outcome import LeftOut
from onefield.data.structure_from_motion.processing import Processed, Request
from onefield.tools.main import main
from onefield.tools.process import process_shown

ROOT = Path(__file__).resolve().parents[2]


def photos(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        blocks = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((320, 240)).save(folder / f"{index}.png")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    folder = photos(tmp_path / "my photos")
    command = [sys.executable, "-m", "onefield.tools.main", "process", str(folder), "--output", str(tmp_path / "out")]
    # Ctrl-C must reach it even where the tests themselves were started without
    started = {"stderr": subprocess.PIPE, "text": True, "cwd": ROOT, "preexec_fn": _listen_to_interrupts}
    with subprocess.Popen(command, **started) as process:
        for line in process.stderr:
            if line.startswith("finding features"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
        assert process.wait() == 130
    assert f"onefield process '{folder}' --output {tmp_path / 'out'}" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.processing", "my photos"]


def _listen_to_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_in_the_middle_it_leaves_no_process_behind_and_goes_on_when_called_again(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    folder, output = photos(tmp_path / "photos"), tmp_path / "out"
    command = [sys.executable, "-m", "onefield.tools.main", "process", str(folder), "--output", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stderr:
            if line.startswith("comparing pairs"):
                process.kill()
                break
        assert process.wait() == -signal.SIGKILL
    limit = time.monotonic() + 60
    while processes_about(tmp_path) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not processes_about(tmp_path)
    assert not output.exists()
    database = tmp_path / ".out.processing" / "database.db"
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM keypoints").fetchone() == (6,)
    connection.close()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "going on with what was interrupted" in done.stderr
    # pictures of nothing give no scene, and say so
    assert done.returncode == 3
    assert "No scene could be made from the 6 photos" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def processes_about(folder: Path) -> list[str]:
    """Command lines that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().decode(errors="replace")
            if str(folder) in words and "worker" in words:
                found.append(words)
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{0}/absent"], 3, "absent does not exist"),
        (["{0}/empty"], 3, "empty has no photos"),
        (["{0}/empty", "--up=north"], 2, "Unknown up axis 'north'"),
        (["{0}/empty", "--frames", "1"], 2, "at least 3 frames"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, arguments, code, words) -> None:
    pytest.importorskip("pycolmap")
    (tmp_path / "empty").mkdir()
    assert main(["process", *(argument.format(tmp_path) for argument in arguments)]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_photos_left_out_are_a_table(tmp_path, capsys, monkeypatch) -> None:
    missing = [LeftOut("dark [1].jpg", "too few features", "12 features", "add light")]
    done = Processed(tmp_path / "scene", 5, 4, 0.5, 900, "cameras", missing, ["two groups"])
    monkeypatch.setattr("onefield.tools.process.process", lambda request, observe, note: done)
    assert process_shown(Request(tmp_path)) is done
    said = capsys.readouterr().err
    assert "warning: two groups" in said
    for words in ("1 photos left out", "dark [1].jpg", "too few features", "add light"):
        assert words in said


def test_train_on_plain_photos_processes_first(tmp_path, capsys, monkeypatch) -> None:
    from onefield.tools.train import _posed

    folder = photos(tmp_path / "photos", 3)
    done = Processed(tmp_path / "scene", 3, 3, 0.5, 900, "cameras", [], [], known=True)
    monkeypatch.setattr("onefield.tools.process.process", lambda request, observe, note: done)
    assert _posed(folder) == done.scene
    assert "no camera poses: finding them first" in capsys.readouterr().err
    (folder / "transforms.json").write_text("{}")
    assert _posed(folder) == folder
    assert _posed(tmp_path / "absent") == tmp_path / "absent"


def test_scenes_made_by_name_never_mix(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "scenes" / "photos"
    other.mkdir(parents=True)
    assert processing._output(Request(tmp_path / "photos"), "some") == tmp_path / "scenes" / "photos-2"
    (other / "processing.json").write_text('{"schema": 1, "fingerprint": "some"}')
    assert processing._output(Request(tmp_path / "photos"), "some") == other
