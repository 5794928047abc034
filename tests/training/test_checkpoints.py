"""Checkpoints: what is loaded is what was saved, whatever happened on the way."""

import json
import pickle
import subprocess
import sys

import pytest
import torch

from onefield import files
from onefield.errors import DataError, ResourceError, UsageError
from onefield.training import checkpoints
from onefield.training.checkpoints import load_checkpoint, newest_state, save_checkpoint


def tensors(step):
    return {"table": torch.full((50, 2), float(step)), "count": torch.tensor(step), "half": torch.ones(3).half()}


def save(folder, step, **options):
    optimizer = {"m": tensors(step)["table"]}
    return save_checkpoint(folder, step, tensors(step), optimizer, {"step": step}, method="ngp", **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_keeps_values_types_and_state(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    model = {"a": tied, "b": tied.T, "empty": torch.zeros(0, 2), "bits": torch.tensor([1, 255], dtype=torch.uint8)}
    state = {"step": 7, "rate": 0.1, "names": ["ä", None], "nested": {"on": True}}
    save_checkpoint(tmp_path, 7, model, {}, state, method="ngp")
    loaded = load_checkpoint(tmp_path, method="ngp")
    assert loaded.step == 7
    assert loaded.state == state
    assert loaded.optimizer == {}
    assert loaded.model.keys() == model.keys()
    for name, tensor in model.items():
        assert loaded.model[name].dtype == tensor.dtype
        assert torch.equal(loaded.model[name], tensor)


def test_the_newest_stay_and_can_be_asked_for(tmp_path):
    for step in (5, 10, 1_000_000, 1_000_001):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-1000000", "step-1000001"]
    assert load_checkpoint(tmp_path).step == 1_000_001
    assert load_checkpoint(tmp_path, 1_000_000).state == {"step": 1_000_000}
    with pytest.raises(DataError, match="no checkpoint of step 5; there are those of 1000000, 1000001"):
        load_checkpoint(tmp_path, 5)


def test_the_newest_state_is_told_without_tensors(tmp_path):
    assert newest_state(tmp_path / "none") is None
    for step in (5, 10):
        (save(tmp_path, step) / "model.safetensors").unlink()
    assert newest_state(tmp_path) == (10, {"step": 10})
    (tmp_path / "step-000010" / "state.json").write_text("{")
    assert newest_state(tmp_path) == (5, {"step": 5})


def test_resuming_earlier_abandons_later_steps(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
    save(tmp_path, 15)
    assert names(tmp_path) == ["step-000010", "step-000015"]


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 10, keep=1)
    for expected in ("step-000010-2", "step-000010-3"):
        save(tmp_path, 10, keep=1)
        assert names(tmp_path) == [expected]
    assert load_checkpoint(tmp_path).step == 10


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replace_by_pickle(path):
    path.write_bytes(pickle.dumps({"a": 1}))


BREAKAGES = {
    "flipped bit": flip,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "pickle": replace_by_pickle,
}


@pytest.mark.parametrize("how", BREAKAGES)
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_broken_checkpoint_is_named_and_the_one_before_serves(tmp_path, caplog, how, file):
    save(tmp_path, 1)
    broken = save(tmp_path, 2) / file
    BREAKAGES[how](broken)
    loaded = load_checkpoint(tmp_path, method="ngp")
    assert loaded.step == 1
    assert torch.equal(loaded.model["table"], tensors(1)["table"])
    assert str(broken) in caplog.text
    with pytest.raises(DataError, match=file):
        load_checkpoint(tmp_path, 2)


def test_a_changed_state_is_noticed(tmp_path):
    path = save(tmp_path, 3) / "state.json"
    path.write_text(path.read_text().replace('"step": 3\n', '"step": 4\n'))
    with pytest.raises(DataError, match="content that was written"):
        load_checkpoint(tmp_path)


def test_a_pickle_with_the_right_hash_is_still_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = save(tmp_path, 3)
    content = pickle.dumps(Bomb())
    (path / "model.safetensors").write_bytes(content)
    header = json.loads((path / "state.json").read_text())
    header["sha256"]["model.safetensors"] = checkpoints.hashlib.sha256(content).hexdigest()
    header["sha256"]["state.json"] = checkpoints._digest(header)
    (path / "state.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="pickle"):
        load_checkpoint(tmp_path)


def test_another_method_and_a_newer_schema_are_refused(tmp_path, monkeypatch):
    save(tmp_path, 3)
    with pytest.raises(DataError, match="belongs to method 'ngp', not 'splat'"):
        load_checkpoint(tmp_path, method="splat")
    monkeypatch.setattr(checkpoints, "SCHEMA", 9)
    save(tmp_path, 4)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"schema 9, but this Onefield .* reads up to schema 1"):
        load_checkpoint(tmp_path)


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(DataError, match="no checkpoint; there are none"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_state_that_is_not_plain_is_refused(tmp_path):
    for value in (torch.ones(1), float("nan")):
        with pytest.raises(UsageError, match="plain finite JSON"):
            save_checkpoint(tmp_path, 1, {}, {}, {"bad": value}, method="ngp")
    assert names(tmp_path) == []


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    save(tmp_path, 1)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(files.errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert names(tmp_path) == ["step-000001"]
    assert load_checkpoint(tmp_path).step == 1


# Runs in a process of its own: every call that changes the disk counts, and the one of the given number is cut short
# by the death of the process; a write loses its second half first.
CRASHING = """
import builtins, io, os, shutil, sys
import torch
import safetensors.torch
from onefield.training.checkpoints import save_checkpoint

folder, last = sys.argv[1], int(sys.argv[2])
done = 0

def passes():
    global done
    done += 1
    return done < last

class Counted(io.FileIO):
    def write(self, data):
        if not passes():
            super().write(bytes(data)[: len(data) // 2])
            os._exit(9)
        return super().write(data)

real_open = builtins.open
def counted_open(path, mode="r", *rest, **named):
    return Counted(path, "x") if mode == "xb" else real_open(path, mode, *rest, **named)
builtins.open = counted_open

for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync"):
    def counted(*arguments, real=getattr(os, name), **named):
        if not passes():
            os._exit(9)
        return real(*arguments, **named)
    setattr(os, name, counted)

def tensors(step):
    return {"table": torch.full((50, 2), float(step))}

for step in (1, 2, 2):
    save_checkpoint(folder, step, tensors(step), tensors(step), {"step": step}, method="ngp", keep=1)
    print(step, flush=True)
"""


def test_a_crash_at_any_call_loses_nothing_that_was_saved(tmp_path):
    """Even with a single checkpoint kept: what save_checkpoint returned from can be loaded, now and after a save."""
    forked = """
import os, subprocess, sys
program, root, first = sys.argv[1], sys.argv[2], 1
source = compile(program, "crash", "exec")
import torch, onefield.training.checkpoints
last = first
while True:
    child = os.fork()
    if child == 0:
        log = os.open(f"{root}/{last}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        sys.argv = ["crash", f"{root}/{last}", str(last)]
        exec(source, {"__name__": "crash"})
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        print(last)
        break
    assert code == 9, code
    last += 1
"""
    driver = subprocess.run(
        [sys.executable, "-c", forked, CRASHING, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert driver.returncode == 0, driver.stderr
    calls = int(driver.stdout)
    assert calls > 50  # three savings of three files each, and their renames and flushes
    for last in range(1, calls):
        folder = tmp_path / str(last)
        returned = (tmp_path / f"{last}.log").read_text().split()
        if returned:
            loaded = load_checkpoint(folder)
            assert loaded.step >= int(returned[-1])
            assert torch.equal(loaded.model["table"], torch.full((50, 2), float(loaded.step)))
        save(folder, 3, keep=1)
        assert names(folder) == ["step-000003"]
        assert load_checkpoint(folder).step == 3
