"""The run's folder: layout, lock, and files that survive crashes."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from datetime import datetime

import pytest

from onefield.errors import DataError, ResourceError, UsageError
from onefield.training import run_folder
from onefield.training.run_folder import RunFolder

TIME = datetime(2031, 2, 3, 4, 5, 6)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(RunFolder.new_path(tmp_path / "runs", "lego", "ngp", time=TIME))


def test_the_layout_is_the_documented_one(tmp_path, run):
    assert run.path == tmp_path / "runs" / "lego" / "ngp-20310203-040506"
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "eval", "export"]
    assert RunFolder.new_path(tmp_path / "runs", "lego", "ngp", time=TIME).name == "ngp-20310203-040506-2"
    odd = RunFolder.new_path(tmp_path, "../a b/ü:*", "..", time=TIME)
    assert odd.relative_to(tmp_path).parts == ("a-b", "unnamed-20310203-040506")


def test_what_is_there_is_not_overwritten(run):
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(run.path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "plain").write_text("")
    with pytest.raises(ResourceError, match="plain"):
        RunFolder.create(tmp_path / "plain" / "runs")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ResourceError, match="read-only"):
        RunFolder.create(tmp_path / "fine")


def test_a_run_is_found_by_its_folder_or_as_the_newest_below(tmp_path, run):
    with pytest.raises(DataError, match="holds no run"):
        RunFolder.find(tmp_path / "runs")
    run.write_config("a: 1")
    later = RunFolder.create(RunFolder.new_path(tmp_path / "runs", "ship", "splat", time=TIME))
    later.write_config("a: 2")
    os.utime(run.config, (1, 1))
    assert RunFolder.is_run(run.path)
    assert not RunFolder.is_run(tmp_path / "runs")
    assert RunFolder.find(run.path) == run
    assert RunFolder.find(tmp_path / "runs") == later
    assert RunFolder.find(tmp_path / "runs" / "lego") == run
    os.utime(later.config, (0, 0))
    assert RunFolder.find(tmp_path / "runs") == run


def test_config_scene_and_evaluation_come_back(run):
    run.write_config("name: ö # why\n")
    assert run.read_config() == "name: ö # why\n"
    run.write_scene({"transform": [[0.1 + 0.2]]})
    assert run.read_scene() == {"transform": [[0.1 + 0.2]]}
    run.write_evaluation({"psnr": [30.5, float("inf")]}, "held-out")
    assert json.loads((run.evaluation / "held-out.json").read_text()) == {"psnr": [30.5, None]}


def test_broken_files_are_named(run):
    with pytest.raises(DataError, match=re.escape(str(run.config))):
        run.read_config()
    run.config.write_bytes(b"\xff")
    with pytest.raises(DataError, match=re.escape(str(run.config))):
        run.read_config()
    for text in ("[1]", "{", ""):
        run.scene.write_text(text)
        with pytest.raises(DataError, match=r"scene\.json"):
            run.read_scene()


def test_metrics_are_cut_back_to_the_checkpoint(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "loss": 1 / step})
    run.append_metrics({"step": 4, "terms": {"color": float("nan")}, "psnr": None})
    with open(run.metrics, "ab") as file:
        file.write(b'{"step": 5, "lo')
    assert [json.loads(line)["step"] for line in run.metrics.read_bytes().splitlines()[:4]] == [1, 2, 3, 4]
    assert run.read_metrics()[-1] == {"step": 4, "terms": {"color": None}, "psnr": None}
    run.truncate_metrics(2)
    run.append_metrics({"step": 3, "loss": 7.0})
    assert run.read_metrics() == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 7.0}]


def test_what_is_logged_lands_in_the_log(run):
    logger = logging.getLogger("onefield.somewhere")
    with run.logging():
        logger.warning("grün")
        logger.info("resumed")
    logger.warning("afterwards")
    text = run.log.read_text(encoding="utf-8")
    assert "WARNING onefield.somewhere: grün" in text
    assert "INFO onefield.somewhere: resumed" in text
    assert "afterwards" not in text
    assert logging.getLogger("onefield").level == logging.NOTSET


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_log_that_can_not_be_written_prints_no_traceback(run, capfd):
    run.log.symlink_to("/dev/full")
    with run.logging():
        logging.getLogger("onefield.somewhere").info("resumed")
    assert capfd.readouterr().err == ""


def test_a_second_run_in_the_folder_is_refused_and_names_the_process(run):
    program = f"""
import sys
from pathlib import Path
from onefield.training.run_folder import RunFolder
with RunFolder(Path({str(run.path)!r})).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(ResourceError, match=f"in use by process {first.pid} on"), run.locked():
            pass
        first.stdin.close()
    assert first.returncode == 0
    with run.locked():
        assert json.loads(run.lock.read_text())["pid"] == os.getpid()
    assert not [path for path in run.path.iterdir() if path.is_file()]


@pytest.mark.parametrize("how", ["dead", "number used again"])
def test_a_dead_process_holds_no_lock(run, how):
    if how == "dead":
        finished = subprocess.Popen([sys.executable, "-c", ""])
        finished.wait()
        lock = {"pid": finished.pid, "host": socket.gethostname(), "started": "1"}
    else:
        if run_folder._process_start(os.getpid()) is None:
            pytest.skip("only Linux tells when a process started")
        lock = {"pid": os.getpid(), "host": socket.gethostname(), "started": "1"}
    run.lock.write_text(json.dumps(lock))
    with run.locked():
        assert json.loads(run.lock.read_text())["started"] != "1"


@pytest.mark.parametrize("content", ["", "{}", "[3]", '{"pid": "x", "host": "h", "started": null}'])
def test_a_foreign_lock_is_left_alone(run, content):
    run.lock.write_text(content)
    with pytest.raises(ResourceError, match=r"no lock of Onefield's; remove it"), run.locked():
        pass
    assert run.lock.read_text() == content


def test_a_lock_of_another_machine_is_respected(run):
    run.lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": None}))
    with pytest.raises(ResourceError, match="process 1 on elsewhere"), run.locked():
        pass


def test_file_systems_without_links_lock_too(run, monkeypatch):
    def refuse(source, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_folder.os, "link", refuse)
    with run.locked():
        with pytest.raises(ResourceError, match="in use by process"), run.locked():
            pass
        assert run.lock.is_file()
    assert not run.lock.exists()


def test_facts_about_machine_and_views_read_back(run):
    assert run.read_machine() is None
    assert run.read_evaluation("held-out") is None
    run.write_machine({"cores": 2, "memory_total": float("inf")})
    run.write_evaluation({"psnr": 20.5, "per_view": [{"view": "a"}]}, "held-out")
    assert run.read_machine() == {"cores": 2, "memory_total": None}
    assert run.read_evaluation("held-out") == {"psnr": 20.5, "per_view": [{"view": "a"}]}
    for broken in ("{", "[1]"):
        run.machine.write_text(broken)
        with pytest.raises(DataError, match=r"machine\.json"):
            run.read_machine()


def test_placements_of_meshes_are_kept_by_name(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    assert run.read_placement("mesh.glb") is None
    matrix = [[2.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    run.write_placement("mesh.glb", matrix)
    run.write_placement("other.ply", matrix[::-1])
    assert run.read_placement("mesh.glb") == matrix
    assert run.read_placement("other.ply") == matrix[::-1]
    assert run.read_placement("none.obj") is None
