"""``onefield compare``: several runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.files import make_folder
from onefield.reports.comparison import compare_runs
from onefield.tools.output import show
from onefield.training.run_folder import RunFolder


def run_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    output: Path = Path("compare.html"),
    json: bool = False,
) -> None:
    """Puts runs on one page: figures, curves, settings that differ, the same held-out views side by side.

    Args:
        runs: folders of two or more runs, or folders above them for the newest below.
        output: the page to write.
        json: print the result as JSON.
    """
    folders = [RunFolder.find(run) for run in runs]
    make_folder(output.parent)
    path = compare_runs(folders, output)
    show({"page": str(path), "runs": [str(folder.path) for folder in folders]}, json, [f"page: {path}"])
