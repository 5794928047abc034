"""Fields side by side: what is planned, what is kept of a stopped run, and what the means are of."""

from __future__ import annotations

import json
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
import trimesh

from onefield.errors import ResourceError, UsageError
from onefield.training import signal_bench
from onefield.training.signal_bench import Cell, Result, by_rate, plan, run_cell, run_cells, summarised, truth_of

CELL = Cell("fit", "star", None, 16, "dense", 200, 1.0, 0, 5)


def test_a_plan_has_every_combination_once_and_bands_where_there_are_any():
    cells = plan(["star", "noise"], ["dense", "siren"], bands=(0.2, 0.8), parameters=(300, 900), rates=(1, 3), seeds=2)
    assert len(set(cells)) == len(cells) == 3 * 2 * 2 * 2 * 2
    assert {cell.band for cell in cells if cell.signal == "star"} == {None}
    for wish, words in (
        ({"signals": ["stra"], "names": ["dense"]}, "'star'"),
        ({"signals": ["star"], "names": ["sirn"]}, "'siren'"),
        ({"signals": ["star"], "names": ["siren"], "tasks": ["paint"]}, "'inpaint'"),
        ({"signals": [], "names": ["siren"]}, "Nothing to compare"),
        ({"signals": ["star"], "names": ["siren"], "rates": [np.nan]}, "positive learning rates, got nan"),
        ({"signals": ["star"], "names": ["siren"], "parameters": [0]}, "positive parameters, got 0"),
    ):
        with pytest.raises(UsageError, match=words):
            plan(**wish)


def test_a_stopped_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    cells = [replace(CELL, seed=seed) for seed in range(4)]
    ran = []

    def fake(cell):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(cell)
        return Result(psnr=float(cell.seed), mean_psnr=0.0, parameters=1, seconds=1.0)

    monkeypatch.setattr(signal_bench, "run_cell", fake)
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, tmp_path)
    lines = tmp_path / "cells.jsonl"
    assert len(lines.read_text().splitlines()) == 2
    with lines.open("a") as file:
        file.write('{"cell": {"task": "fi')
    ran.clear()
    ran.append(None)
    told = []
    monkeypatch.setattr(signal_bench, "run_cell", lambda cell: ran.append(cell) or Result(psnr=float(cell.seed)))
    results = run_cells(cells, tmp_path, observe=lambda *pair: told.append(pair))
    assert ran[1:] == cells[2:]
    assert [result.psnr for result in results.values()] == [0, 1, 2, 3]
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert [json.loads(line)["cell"]["seed"] for line in lines.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_field_that_runs_away_has_no_figure(monkeypatch):
    monkeypatch.setattr(
        signal_bench, "fit", lambda *asked, **named: lambda points: torch.full((len(points), 1), np.nan)
    )
    result = run_cell(CELL)
    assert result.psnr is None
    assert "not finite" in result.error


def test_results_that_can_not_be_written_end_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(signal_bench, "run_cell", lambda cell: Result(psnr=1.0))
    (tmp_path / "cells.jsonl").symlink_to(tmp_path / "nowhere" / "cells.jsonl")
    with pytest.raises(ResourceError, match=r"cells\.jsonl can't be written"):
        run_cells([CELL], tmp_path)


def test_two_processes_find_what_one_does(tmp_path):
    cells = [replace(CELL, seed=seed) for seed in range(2)]
    together = run_cells(cells, tmp_path, processes=2)
    assert together[cells[0]].psnr == pytest.approx(run_cell(cells[0]).psnr, abs=1e-3)


@pytest.mark.parametrize("task", ["fit", "super-resolve", "denoise", "inpaint"])
def test_a_cell_is_scored_against_the_whole_signal(task):
    result = run_cell(replace(CELL, task=task, signal="noise", band=0.2, side=32, parameters=70, steps=60))
    assert result.error is None
    assert result.psnr > result.mean_psnr + 3
    # an eighth of the range deviates
    assert result.mean_psnr == pytest.approx(20 * np.log10(8), abs=0.01)
    assert result.parameters == 64
    assert result.steps == 60
    assert result.iou is None


def test_a_slice_is_found_from_its_shadows():
    cell = replace(CELL, task="tomography", signal="phantom", side=24, parameters=600, steps=80)
    result = run_cell(cell)
    assert result.psnr > result.mean_psnr + 1.5
    assert "square pictures" in run_cell(replace(cell, signal="noise", band=0.5)).error


def test_what_a_field_cannot_do_is_told():
    assert "needs" in run_cell(replace(CELL, field="siren", parameters=3)).error
    assert "'vm'" in run_cell(replace(CELL, field="vm")).error
    assert run_cell(CELL).iou > 0


def test_files_are_reduced_to_as_many_samples(tmp_path):
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, 60:] = 255
    imageio.imwrite(tmp_path / "a.png", pixels)
    trimesh.creation.box((1.0, 1.0, 1.0)).export(tmp_path / "a.obj")
    picture = truth_of(replace(CELL, signal=str(tmp_path / "a.png"), side=32))
    assert picture.shape == (20, 40)
    torch.testing.assert_close(picture.values.mean(), torch.tensor(0.5))
    solid = truth_of(replace(CELL, signal=str(tmp_path / "a.obj"), side=64))
    assert solid.shape == (16, 16, 16)
    # a tenth of the box's side is to spare all round
    assert 0.4 < solid.values.mean().item() < 0.75


def test_the_best_rate_is_chosen_by_its_mean_over_seeds():
    figures = {(1.0, 0): 20.0, (1.0, 1): 22.0, (3.0, 0): 30.0, (3.0, 1): 10.0}
    results = {
        replace(CELL, rate=rate, seed=seed): Result(psnr=psnr, mean_psnr=9.0, iou=0.5, parameters=10, seconds=2.0)
        for (rate, seed), psnr in figures.items()
    }
    results[replace(CELL, field="vm")] = Result(error="no")
    (summary,) = summarised(results)
    assert (summary.psnr, summary.deviation, summary.cell.rate, summary.seeds, summary.rates) == (21.0, 1.0, 1.0, 2, 2)


def test_a_rate_is_judged_over_all_signals_and_not_at_all_where_a_fit_failed():
    figures = {(1.0, 0): (20.0, 30.0), (1.0, 1): (24.0, 34.0), (0.3, 0): (10.0, 10.0), (3.0, 0): (40.0, None)}
    results = {
        replace(CELL, signal=signal, rate=rate, seed=seed): Result(psnr=psnr)
        for (rate, seed), pair in figures.items()
        for signal, psnr in zip(("star", "noise"), pair, strict=True)
    }
    found = [(each.field, each.rate, each.psnr, each.deviation) for each in by_rate(results)]
    assert found == [("dense", 0.3, 10.0, 0.0), ("dense", 1.0, 27.0, 2.0), ("dense", 3.0, None, None)]
