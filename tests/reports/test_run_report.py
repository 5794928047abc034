"""The page of a run: whole, alone, small, and with the figures that the evaluation has."""

import shlex
from dataclasses import replace

import pytest
import torch

from onefield.configs.command import train_command
from onefield.configs.runs import configure, run, start_run
from onefield.fields.field import Field
from onefield.reports import run_report
from onefield.reports.portrait import portray
from onefield.reports.record import read_record
from onefield.reports.run_report import LARGEST_PAGE, report_folder, report_page, report_run, write_report
from onefield.training.evaluation import evaluate
from onefield.types import Bounds, Sample
from tests.reports.conftest import SMALL
from tests.reports.outline import Outline


class Empty(Field):
    """Nothing anywhere."""

    provides = frozenset({"density", "color"})
    domain = Bounds.cube(1.0)

    def _evaluate(self, points, directions, time, want):
        return Sample(density=points.sum(-1) * 0, color=points * 0)


@pytest.fixture(scope="module")
def content(scored) -> bytes:
    return report_page(read_record(scored.folder), portray(scored), 320)


def test_the_page_is_whole_and_alone(content):
    outline = Outline(content)
    assert b"http:" not in content.replace(b"http-equiv", b"")
    assert b"https:" not in content
    assert all(address.startswith("data:") for address in outline.addresses())
    assert len(content) < LARGEST_PAGE
    assert outline.count("script") == 1


def test_figures_are_those_of_the_evaluation(scored, content):
    evaluation = evaluate(scored.method, scored.scene)
    rows = [row for row in Outline(content).rows if row[0].startswith("./test/")]
    expected = sorted(evaluation.views, key=lambda view: view.psnr)
    assert [row[:3] for row in rows] == [[view.view, f"{view.psnr:.2f}", f"{view.ssim:.4f}"] for view in expected]
    facts = {row[0]: row[1] for row in Outline(content).rows if len(row) == 2}
    assert facts["PSNR, dB"] == f"{evaluation.summary()['psnr']:.2f}"
    assert facts["trained"].startswith("40 steps in ")


def test_the_whole_protocol_of_corrected_views_is_told(folder):
    evaluation = folder.read_evaluation("held-out")
    rows = [row | {"turned": 0.4213, "moved": 0.01234} for row in evaluation["per_view"]]
    details = ["Fitted to the left half.", "Scored: the right half."]
    told = {"per_view": rows, "protocol": "halves", "protocol_details": details, "scored_from": 0.5}
    folder.write_evaluation(evaluation | told, "held-out")
    outline = Outline(report_page(read_record(folder), None, 320))
    for words in ("How they were scored", *details, "faded: the half that the view was fitted to"):
        assert words in outline.text
    row = next(row for row in outline.rows if row[0] == rows[0]["view"])
    assert row[-2:] == ["0.421", "0.0123"]
    assert next(row for row in outline.rows if row[0] == "protocol") == ["protocol", "halves"]
    assert not any("scored from" in row[0] for row in outline.rows)


def test_the_rule_by_which_views_were_held_out_is_told(content):
    facts = {row[0]: row[1] for row in Outline(content).rows if len(row) == 2}
    assert facts["held out"] == "the data set's own test views"


def test_names_are_text(scored, content):
    outline = Outline(content)
    assert outline.count("b") == 0
    facts = {row[0]: row[1] for row in outline.rows if len(row) == 2}
    assert facts["scene"] == str(scored.scene.path)


def test_the_command_can_be_pasted(scored, content):
    text = Outline(content).text
    command = shlex.join(train_command(scored.config))
    assert command in text
    assert shlex.split(command)[2] == str(scored.scene.path)


def test_a_run_that_went_on_is_repeated_by_two_commands(scored):
    text = Outline(report_page(replace(read_record(scored.folder), step=60), None, 0)).text
    assert "--output RUN" in text
    assert "onefield train RUN --resume --steps 60" in text


def test_pictures_show_views_geometry_and_surface(scored, content):
    outline = Outline(content)
    descriptions = [names["alt"] for tag, names in outline.met if tag == "img"]
    views = [scored.scene.image_names[int(index)] for index in scored.scene.test_indices]
    for kind in ("photo", "rendering", "error"):
        assert sorted(words for words in descriptions if words.startswith(kind)) == sorted(
            f"{kind} of {view}" for view in views[:6]
        )
    assert sum(words.startswith("depth") for words in descriptions) == 2
    assert sum(words.startswith("surface") for words in descriptions) == 6
    sliders = [names for tag, names in outline.met if tag == "input"]
    assert len(sliders) == len(views)
    assert all(names["aria-label"] for names in sliders)


def test_a_run_without_a_surface_says_so(scored):
    empty = replace(scored, method=replace(scored.method, field=Empty()))
    portrait = portray(empty)
    assert portrait.sides == ()
    assert any("surface" in text and "everywhere" in text for text in portrait.trouble)
    text = Outline(report_page(read_record(scored.folder), portrait, 200)).text
    assert "No surface could be extracted" in text
    assert portrait.trouble[0] in text
    assert "nothing is seen" in text


def test_a_run_without_held_out_views(scored, tmp_path):
    opened = start_run(configure(scored.scene.path, steps=2, changes=SMALL), tmp_path / "run")
    opened = replace(opened, scene=replace(opened.scene, test_indices=torch.zeros(0, dtype=torch.int64)))
    opened.folder.write_scene({"train": ["a"], "held_out": []})
    run(opened)
    outline = Outline(report_run(opened).read_bytes())
    assert "No view was held out" in outline.text
    assert "depth of ./train" in " ".join(names.get("alt", "") for _, names in outline.met)


def test_a_run_that_was_stopped_before_its_first_check(scored, tmp_path):
    opened = start_run(configure(scored.scene.path, steps=50, changes=SMALL), tmp_path / "run")
    outcome = run(opened, should_stop=lambda: True)
    assert outcome.interrupted
    text = Outline(report_folder(opened.folder).read_bytes()).text
    assert "1 steps" in text
    assert "(budget: 50 steps)" in text
    assert "nothing was measured" in text
    assert "Not scored yet" in text


def test_scores_of_another_step_are_said_to_be(folder):
    evaluation = folder.read_evaluation("held-out")
    folder.write_evaluation(evaluation | {"step": 20}, "held-out")
    text = Outline(write_report(folder).read_bytes()).text
    assert "scored at step 20, not at step 40" in text


def test_pages_stay_small(folder, monkeypatch):
    whole = len(report_page(read_record(folder), None, 640))
    without = len(report_page(read_record(folder), None, 0))
    monkeypatch.setattr(run_report, "LARGEST_PAGE", (whole + without) // 2)
    assert without <= len(write_report(folder).read_bytes()) < (whole + without) // 2


def test_trouble_is_a_warning(folder, scored, monkeypatch, caplog):
    folder.config.write_text("schema: 77")
    assert report_folder(folder) is None
    assert "was not written" in caplog.text
    assert "schema 77" in caplog.text

    def fail(run, mesh):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(run_report, "portray", fail)
    assert report_run(scored) is None
    assert "RuntimeError: out of luck" in caplog.text
    assert not folder.report.exists()
