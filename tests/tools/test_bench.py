"""``onefield bench signals`` from the command to its tables and its page."""

from __future__ import annotations

import csv
import json
import re

import pytest

from onefield.tools.main import main

ARGUMENTS = ["bench", "signals", "--fields", "dense,siren,vm", "--signals", "star,noise", "--bands", "0.2,0.6"]
ARGUMENTS += ["--parameters", "100,0.2k", "--side", "12", "--steps", "2", "--seeds", "1", "--learning-rates", "1,3"]


def test_tables_and_a_page_that_loads_nothing(tmp_path, capsys):
    arguments = [*ARGUMENTS, "--output", str(tmp_path / "out"), "--processes", "1", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    # signals and bands, parameters, fields, rates
    assert told["fits"] == 3 * 2 * 3 * 2
    # pictures have no third axis
    assert told["failed"] == 3 * 2 * 2
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert len(rows) == told["fits"]
    best = max((row for row in rows if row["signal"] == "star" and row["psnr"]), key=lambda row: float(row["psnr"]))
    assert int(best["parameters"]) <= int(best["allowed_parameters"])
    summaries = json.loads((tmp_path / "out" / "results.json").read_text())["summaries"]
    assert len(summaries) == 3 * 2 * 2
    assert {(summary["rates"], summary["seeds"]) for summary in summaries} == {(2, 1)}
    page = (tmp_path / "out" / "bench.html").read_text()
    assert page.count("<polyline") == 2 * 2 * 3 + 2
    assert "noise, band 0.6" in page
    swept = json.loads((tmp_path / "out" / "results.json").read_text())["by_rate"]
    assert {each["rate"] for each in swept if (each["field"], each["parameters"]) == ("dense", 100)} == {1, 3}
    assert "3 x the recipe" in page
    assert "'vm' has features on planes" in page.replace("&#x27;", "'")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    before = (tmp_path / "out" / "cells.jsonl").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "out" / "cells.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["signals", "--fields", "sirn"], "'siren'"),
        (["signals", "--bands", "low"], "--bands takes numbers"),
        (["signals", "--bands", "2"], "between 0 and 1"),
        (["signals", "--steps", "0"], "--steps"),
        (["--seeds", "3"], "no options but --json"),
    ],
)
def test_bad_wishes_end_in_a_sentence(options, words, tmp_path, capsys):
    where = ["--output", str(tmp_path)] if options[0] == "signals" else []
    assert main(["bench", *options, *where, "--processes", "1"] if where else ["bench", *options]) == 2
    assert words in capsys.readouterr().err
