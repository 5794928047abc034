"""What training ends with where a scene was made from plain photos: a coloured mesh, and a report that shows it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from onefield.configs.runs import open_run
from onefield.data.demo_scene import write_demo_scene
from onefield.export.formats import read_mesh
from onefield.tools import train
from onefield.tools.main import main
from onefield.tools.surface import exported_if_any
from tests.reports.conftest import SMALL
from tests.reports.test_run_report import Empty


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_demo_scene(folder / "scene", views=16, size=32)
    (folder / "scene" / "processing.json").write_text("{}")
    return folder / "scene", folder / "run"


def test_a_run_on_photos_ends_with_a_coloured_mesh_and_a_report_of_it(folders, capsys, monkeypatch):
    scene, run = folders
    # fewer cells than the quick look that reports take by themselves
    monkeypatch.setattr(train, "exported_if_any", lambda opened, path: exported_if_any(opened, path, resolution=40))
    assert main(["train", str(scene), "--steps", "40", "--output", str(run), "--json", "--set", *SMALL]) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    mesh = read_mesh(run / "export" / "mesh.glb")
    assert result["mesh"] == str(run / "export" / "mesh.glb")
    assert len(mesh.faces) > 100
    assert mesh.colors is not None
    assert (run / "export" / "mesh-glb-preview.png").is_file()
    # the page shows the mesh itself, not a quick look with fewer cells
    page = (run / "report.html").read_text()
    assert f"{len(mesh.faces)} faces" in page.replace(",", "")
    assert "A quick look" not in page
    assert "scoring 2 held-out views" in told.err


def test_no_surface_is_a_warning(folders, capsys):
    run = open_run(folders[1])
    empty = replace(run, method=replace(run.method, field=Empty()))
    assert exported_if_any(empty, run.folder.exports / "none.glb") is None
    assert "warning: no mesh: " in capsys.readouterr().err
    assert not (run.folder.exports / "none.glb").exists()
