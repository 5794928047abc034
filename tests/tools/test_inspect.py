"""What ``onefield inspect`` calls a path."""

from __future__ import annotations

import json

import pytest

from onefield.tools.inspect import run_command

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def described(path, capsys):
    run_command(path, json=True)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("named", ["solid.json", "solid/slices.json"])
def test_slices_are_told_from_datasets_that_are_json_or_folders_too(named, tmp_path, capsys):
    file = tmp_path / named
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"slices": [{"height": h, "contours": [SQUARE]} for h in (0.0, 1.0, 2.0)]}))
    assert described(tmp_path / named.split("/")[0], capsys)["kind"] == "slices"


def test_a_transforms_file_is_a_dataset(data_folder, capsys):
    assert described(data_folder / "fox" / "transforms.json", capsys)["kind"] == "dataset"
