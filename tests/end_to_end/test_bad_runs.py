"""Runs that can't go well, by the real commands: one sentence, the right exit code, nothing half-written.

The list of all that can be wrong stands at the top of tests/data/test_bad_input.py.
"""

from __future__ import annotations

import errno
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from onefield import files
from onefield.configs.runs import open_run, read_config, score
from onefield.data.demo_scene import write_demo_scene
from onefield.errors import UsageError
from onefield.export.formats import read_mesh
from onefield.tools import train as train_module
from onefield.tools.main import main
from onefield.training.checkpoints import load_checkpoint
from onefield.training.run_folder import RunFolder

TINY = [
    "training.samples_per_step=2048", "training.validate_every=0", "training.save_seconds=0.000001",
    "sampler.resolution=16", "field.levels=2", "field.log2_table_size=10", "field.finest_resolution=32",
]  # fmt: skip
SHIFT = np.array([431_000.0, 5_412_000.0, 320.0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=24)
    return folder


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    assert train(scene, run) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def train(scene: Path, output: Path, *more: str, steps: int = 3) -> int:
    return main(["train", str(scene), "--steps", str(steps), "--output", str(output), *more, "--set", *TINY])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of stderr; nothing else but warnings and talk before it, and no result."""
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    *_, line = printed.err.splitlines()
    assert line.startswith("onefield ")
    assert line.endswith(".")
    return line


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


def test_a_truncated_image(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "scene"
    shutil.copytree(scene, copy)
    image = sorted(copy.rglob("*.png"))[0]
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    assert train(copy, tmp_path / "run") == 3
    assert f"{image} is truncated or damaged" in sentence(capsys)
    assert not left_over(tmp_path / "run")
    image.write_bytes(whole)
    assert main(["train", str(tmp_path / "run"), "--resume"]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.steps=many", "'training.steps' must be of type int, got 'many'"),
        ("training.encoding_rate=-1", "training.encoding_rate must be positive, got -1"),
        ("field.precision=half", "Unknown precision 'half'"),
        ("background=withe", "did you mean 'white'"),
        ("losses.hubre=1", "did you mean 'huber'"),
        ("field.kind=hsah", "did you mean 'hash'"),
        ("field.kind=[1]", "Unknown 'field.kind' [1]"),
        ("method=npg", "choose one by --method"),
        ("losses.huber=.nan", "losses.huber is a weight, 0 or more, got nan"),
        ("training.seed=99999999999999999999", "A seed is a whole number"),
    ],
)
def test_values_of_the_wrong_kind(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    assert main(["train", str(scene), "--output", str(tmp_path / "run"), "--set", change]) == 2
    assert words in sentence(capsys)
    assert not (tmp_path / "run").exists()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "bit-flipped": flip,
    "pickle": lambda file: file.write_bytes(pickle.dumps({"a": 1})),
}


@pytest.mark.parametrize("how", BREAKAGES)
@pytest.mark.parametrize("command", [["evaluate"], ["render"], ["export"], ["train", "--resume"]])
def test_a_broken_checkpoint(run: Path, capsys: pytest.CaptureFixture[str], how: str, command: list[str]) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        BREAKAGES[how](checkpoint / "model.safetensors")
    before = sorted(run.rglob("*"))
    assert main([command[0], str(run), *command[1:]]) == 3
    said = sentence(capsys)
    assert "model.safetensors" in said
    assert ("pickle" in said) == (how == "pickle")
    assert [path for path in sorted(run.rglob("*")) if path not in before and path.name != "machine.json"] == []


def test_a_checkpoint_of_another_method(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("method: ngp", "method: sdf"))
    assert main(["evaluate", str(run)]) == 3
    assert "belongs to method 'ngp', not 'sdf'" in sentence(capsys)
    config.write_text(config.read_text().replace("method: sdf", "method: ngp").replace("levels: 2", "levels: 3"))
    assert main(["evaluate", str(run)]) == 3
    assert "should have shape" in sentence(capsys)


def test_a_checkpoint_of_a_newer_version(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        state = checkpoint / "state.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"schema": 99}))
    assert main(["evaluate", str(run)]) == 3
    assert "schema 99" in sentence(capsys)


def test_a_folder_in_use(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(run).locked():
        assert main(["train", str(run), "--resume", "--steps", "5"]) == 4
        assert "in use by process" in sentence(capsys)
    assert load_checkpoint(run / "checkpoints").step == 3


@pytest.mark.parametrize("cause", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cause: int
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(cause, "refused")

    monkeypatch.setattr(files.os, "fsync", failing)
    assert main(["train", str(run), "--resume", "--steps", "9"]) == 4
    assert str(run) in sentence(capsys)
    monkeypatch.undo()
    assert not left_over(run)
    assert load_checkpoint(run / "checkpoints").step == 3
    assert main(["train", str(run), "--resume", "--steps", "5"]) == 0


@pytest.mark.parametrize(
    "option", [["--method", "ngp"], ["--seed", "0"], ["--time", "9s"], ["--set", "a=1"], ["--downscale", "2"]]
)
def test_settings_that_a_resumed_run_does_not_take(
    run: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert main(["train", str(run), "--resume", *option]) == 2
    assert option[0] in sentence(capsys)


def test_a_run_that_was_stopped_before_its_first_checkpoint(
    run: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    assert main(["evaluate", str(run)]) == 3
    assert "train on by --resume" in sentence(capsys)
    assert main(["train", str(run), "--resume"]) == 0
    again, before = load_checkpoint(run / "checkpoints"), load_checkpoint(trained / "checkpoints")
    assert all(torch.equal(tensor, again.model[name]) for name, tensor in before.model.items())


def test_a_dataset_that_changed_after_training(
    scene: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scene"
    shutil.copytree(scene, copy)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(scene), str(copy)))
    assert open_run(run).step == 3
    # a view that was trained on is held out now
    for name in ("train", "test"):
        file = copy / f"transforms_{name}.json"
        record = json.loads(file.read_text())
        if name == "train":
            moved = record["frames"].pop()
        else:
            record["frames"].append(moved)
        file.write_text(json.dumps(record))
    assert main(["evaluate", str(run)]) == 3
    assert f"{copy} has other views, or holds out others" in sentence(capsys)
    shutil.rmtree(copy)
    assert main(["evaluate", str(run)]) == 3
    assert f"as 'scene' in {config}" in sentence(capsys)


def test_views_of_a_split_that_is_none_are_not_scored_as_another(run: Path) -> None:
    with pytest.raises(UsageError, match="Unknown split 'test': valid are held-out, training"):
        score(open_run(run), "test")
    assert not list((run / "eval").glob("test*"))


def test_scoring_that_is_stopped_says_that_the_run_is_saved(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "score", stopped)
    assert main(["train", str(run), "--resume"]) == 130
    assert capsys.readouterr().err.endswith(f"which is saved; score it with: onefield evaluate {run}\n")


def test_a_longer_budget_is_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("seconds: null", "seconds: 1000.0"))
    assert main(["train", str(run), "--resume", "--steps", "5"]) == 0
    assert load_checkpoint(run / "checkpoints").step == 5
    training = read_config(RunFolder(run)).method.training
    assert (training.steps, training.seconds) == (5, None)
    assert main(["train", str(run), "--resume", "--steps", "4"]) == 2
    assert "has done 5 steps already" in sentence(capsys)


def test_a_run_that_is_trained_as_if_it_were_a_dataset(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(run)]) == 2
    assert "is a run, not a dataset; go on with it by --resume" in sentence(capsys)


def test_a_scene_in_utm_coordinates(scene: Path, tmp_path: Path) -> None:
    copy = tmp_path / "scene"
    shutil.copytree(scene, copy)
    for file in copy.glob("transforms*.json"):
        record = json.loads(file.read_text())
        for frame in record["frames"]:
            for axis in range(3):
                frame["transform_matrix"][axis][3] += SHIFT[axis]
        if "offset" in record:
            record.pop("offset")
        file.write_text(json.dumps(record))
    assert train(copy, tmp_path / "run") == 0
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "mesh.ply"), "--resolution", "16"]) == 0
    vertices = read_mesh(tmp_path / "mesh.ply").vertices.double().numpy()
    assert np.abs(vertices - SHIFT).max() < 20


MEMORY_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
from onefield.tools.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_memory_too_small_for_training(scene: Path, tmp_path: Path) -> None:
    command = ["train", str(scene), "--output", str(tmp_path / "run"), "--set", "field.log2_table_size=25"]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_LIMITED, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.splitlines()
    assert "needs about" in line
    assert "are available; lower it with --set field.log2_table_size=" in line
    assert not (tmp_path / "run").exists()


def test_memory_too_small_for_a_picture_or_a_mesh(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(run), "--width", "2000000", "--output", str(tmp_path / "pictures")]) == 4
    assert "take a smaller --width" in sentence(capsys)
    assert not (tmp_path / "pictures").exists()
    assert main(["export", str(run), "--resolution", "40960", "--to", str(tmp_path / "meshes" / "mesh.ply")]) == 4
    assert "take a resolution of" in sentence(capsys)
    assert not (tmp_path / "meshes").exists()
