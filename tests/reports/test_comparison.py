"""Several runs on one page."""

import shutil

import pytest

from onefield.errors import DataError, UsageError
from onefield.reports.comparison import compare_runs, named_records
from onefield.training.run_folder import RunFolder
from tests.reports.outline import Outline


@pytest.fixture
def better(folder) -> RunFolder:
    """A run that differs from the first in a setting and in its scores."""
    folder.write_config(folder.read_config().replace("levels: 4", "levels: 3"))
    evaluation = folder.read_evaluation("held-out")
    evaluation["psnr"] += 1
    for row in evaluation["per_view"]:
        row["psnr"] += 1
    folder.write_evaluation(evaluation, "held-out")
    return folder


def compared(folders, path) -> Outline:
    content = compare_runs(folders, path).read_bytes()
    assert b"https:" not in content
    return Outline(content)


def test_two_runs_side_by_side(scored, better, tmp_path):
    outline = compared([scored.folder, better], tmp_path / "compare.html")
    psnr = better.read_evaluation("held-out")["psnr"]
    figures = {row[0]: row for row in outline.rows if row[0] in ("first", "copy")}
    assert figures["copy"][5] == f"{psnr:.2f} ★"
    assert figures["first"][5] == f"{psnr - 1:.2f}"
    assert ["field.levels", "4", "3"] in outline.rows
    assert all(address.startswith("data:") for address in outline.addresses())
    descriptions = [names["alt"] for tag, names in outline.met if tag == "img"]
    for index in scored.scene.test_indices.tolist():
        view = scored.scene.image_names[index]
        for words in (f"photo of {view}", f"{view} by first", f"{view} by copy", f"error of {view} by copy"):
            assert words in descriptions
    assert outline.count("polyline") == 2 * 4  # loss and PSNR, over steps and over time
    assert "can't be held against each other" not in outline.text


def test_unlike_runs_are_said_to_be(scored, better, tmp_path):
    better.write_config(better.read_config().replace("downscale: 1", "downscale: 2"))
    evaluation = better.read_evaluation("held-out")
    evaluation["per_view"] = [row | {"view": "other " + row["view"]} for row in evaluation["per_view"]]
    better.write_evaluation(evaluation | {"step": 1}, "held-out")
    text = compared([scored.folder, better], tmp_path / "compare.html").text
    assert "different image sizes" in text
    assert "different held-out views" in text
    assert "The held-out views were scored at step 1, not at step" in text
    assert "No held-out view was scored in all of the runs" in text


def test_runs_of_other_scenes_and_without_scores(scored, folder, tmp_path):
    folder.write_scene(folder.read_scene() | {"name": "elsewhere"})
    shutil.rmtree(folder.evaluation)
    text = compared([scored.folder, folder], tmp_path / "compare.html").text
    assert "different scenes, so no view is the same" in text
    assert "copy was not scored" in text


def test_names_are_as_short_as_they_can_be(scored, tmp_path):
    places = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    folders = [RunFolder(shutil.copytree(scored.folder.path, place)) for place in places]
    assert [name for name, _ in named_records(folders)] == ["a/run", "b/run"]


def test_what_cannot_be_compared(scored, folder, tmp_path):
    with pytest.raises(UsageError, match="at least two"):
        compare_runs([scored.folder], tmp_path / "compare.html")
    with pytest.raises(UsageError, match="named twice"):
        compare_runs([scored.folder, scored.folder], tmp_path / "compare.html")
    folder.config.write_text("schema: 77")
    with pytest.raises(DataError, match="schema 77"):
        compare_runs([scored.folder, folder], tmp_path / "compare.html")
    assert not (tmp_path / "compare.html").exists()
