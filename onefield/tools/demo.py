"""``onefield demo``: from nothing to a trained scene, its held-out score, pictures and a mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onefield.configs.runs import configure, score, start_run
from onefield.files import make_folder
from onefield.reports.figures import duration
from onefield.reports.run_report import report_run
from onefield.tools.output import say, show
from onefield.tools.train import report_line, train_to_end

SCENE_FOLDER = "scene"
RUN_FOLDER = "run"
VIEWS = 40
SIZE = 144


def run_command(output: Path = Path("demo"), time: str = "90s", json: bool = False) -> None:
    """Ray-traces a small scene with exact cameras, trains it, scores it on held-out views and exports a mesh.

    Args:
        output: folder to write to: the scene, the run, pictures and the mesh.
        time: training time, such as 90s or 3m.
        json: print the result as JSON.
    """
    from onefield.data.demo_scene import write_demo_scene
    from onefield.tools.output import seconds_of
    from onefield.tools.pictures import write_mesh_picture
    from onefield.tools.surface import export_surface
    from onefield.training.surface import choose_extractor

    seconds = seconds_of(time)
    folder = make_folder(output)
    say(f"1/4  drawing {VIEWS} views of the demo scene into {folder / SCENE_FOLDER}")
    write_demo_scene(folder / SCENE_FOLDER, views=VIEWS, size=SIZE)
    opened = start_run(configure(folder / SCENE_FOLDER, seconds=seconds), _fresh(folder / RUN_FOLDER))
    say(f"2/4  training {opened.method.name} for {duration(seconds)}")
    outcome = train_to_end(opened)
    say("3/4  scoring held-out views")
    opened = replace(opened, step=outcome.step)
    summary = score(opened).summary()
    say("4/4  extracting the mesh")
    mesh_path = opened.folder.exports / "mesh.glb"
    choice = choose_extractor(opened.method, opened.scene)
    exported = export_surface(opened, mesh_path, choice, resolution=192)
    picture = opened.folder.exports / "mesh.png"
    write_mesh_picture(picture, exported.surface.mesh)
    report = report_run(opened, exported.surface.mesh)
    paths = {"run": str(opened.folder.path), "mesh": str(mesh_path), "report": report and str(report)}
    show(
        {**paths, "step": outcome.step, **summary},
        json,
        [
            f"PSNR {summary['psnr']:.2f} dB, SSIM {summary['ssim']:.4f} on {summary['views']} held-out views",
            f"pictures: {opened.folder.evaluation} (truth, rendering, error)",
            f"mesh:     {mesh_path} ({exported.report.faces} faces), drawn in {picture}",
            *report_line(report),
            f"next:     onefield render {opened.folder.path}",
        ],
    )


def _fresh(folder: Path) -> Path:
    """The folder itself, or the first free name with a number, so that an earlier demo stays."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate
