"""The guard against values that are not finite, and the way back to a good state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from onefield.configs.runs import Run, configure, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.errors import DivergedError, ResourceError
from onefield.losses.term import Evidence, LossTerm
from onefield.training import state as state_module
from onefield.training.checkpoints import load_checkpoint
from onefield.training.loop import non_finite
from onefield.training.run_folder import RunFolder

SMALL = [
    "training.samples_per_step=2048",
    "training.validate_every=0",
    "sampler.resolution=16",
    "field.levels=2",
    "field.log2_table_size=10",
    "field.finest_resolution=32",
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=24)
    return folder


def _opened(scene: Path, folder: Path, steps: int, poison: LossTerm) -> Run:
    opened = start_run(configure(scene, steps=steps, changes=SMALL), folder)
    method = dataclasses.replace(opened.method, objective=(*opened.method.objective, poison))
    return dataclasses.replace(opened, method=method)


def _poison_at(steps: set[int]) -> LossTerm:
    count = iter(range(10**6))

    def evaluate(evidence: Evidence) -> torch.Tensor:
        bad = next(count) in steps
        return evidence.prediction.sum() * (float("nan") if bad else 0.0)

    return LossTerm("poison", 1.0, evaluate)


def test_one_bad_step_is_skipped_and_told(scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = _opened(scene, tmp_path / "run", 8, _poison_at({3}))
    outcome = run(opened)
    assert outcome.step == 8
    assert [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()] == [
        "Step 4 was skipped: the loss is not finite."
    ]
    assert all(torch.isfinite(p).all() for p in opened.method.field.parameters())


def test_many_bad_steps_lead_back_and_on(scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = _opened(scene, tmp_path / "run", 12, _poison_at(set(range(4, 9))))
    assert run(opened).step == 12
    assert any("Went back to step 0" in record.getMessage() for record in caplog.records)


def test_going_back_takes_back_what_was_measured(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _opened(scene, tmp_path / "run", 12, _poison_at(set(range(4, 9))))
    settings = dataclasses.replace(opened.method.settings, validate_every=2)
    opened = dataclasses.replace(opened, method=dataclasses.replace(opened.method, settings=settings))
    seconds: list[float] = []
    run(opened, observe=lambda progress: seconds.append(progress.elapsed))
    records = opened.folder.read_metrics()
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10, 12]
    assert all(record["loss"] is not None for record in records)
    # the time that went into what was given up is spent
    assert seconds == sorted(seconds)


def test_lasting_trouble_ends_the_run(scene: Path, tmp_path: Path) -> None:
    opened = _opened(scene, tmp_path / "run", 100, _poison_at(set(range(2, 10**5))))
    with pytest.raises(DivergedError, match=r"diverged at step .*the loss stays non-finite"):
        run(opened)


def test_non_finite_names_the_tensor() -> None:
    good, bad = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    good.grad, bad.grad = torch.ones(2), torch.tensor([1.0, float("inf")])
    assert non_finite(torch.tensor(1.0), {"good": good}) is None
    assert non_finite(torch.tensor(1.0), {"good": good, "table": bad}) == "the gradient of 'table'"
    assert non_finite(torch.tensor(float("nan")), {}) == "the loss"


def test_a_full_disk_in_the_middle_is_told_and_training_goes_on(
    scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _opened(scene, tmp_path / "run", 6, _poison_at(set()))
    settings = dataclasses.replace(opened.method.settings, save_seconds=1e-6, validate_every=3)
    opened = dataclasses.replace(opened, method=dataclasses.replace(opened.method, settings=settings))
    whole, calls = state_module.save_checkpoint, iter(range(100))

    def full(*arguments):
        raise ResourceError("The disk is full while writing; free space there.")

    def failing(*arguments, **named):
        return full() if next(calls) in (2, 3) else whole(*arguments, **named)

    monkeypatch.setattr(state_module, "save_checkpoint", failing)
    monkeypatch.setattr(RunFolder, "append_metrics", full)
    assert run(opened).step == 6
    assert sum("is not recorded" in record.getMessage() for record in caplog.records) == 2
    assert sum("previous checkpoint is whole" in record.getMessage() for record in caplog.records) == 2
    assert load_checkpoint(opened.folder.checkpoints).step == 6
