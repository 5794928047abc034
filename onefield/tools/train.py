"""``onefield train``: a scene from photos with known cameras."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from onefield.configs.presets import AUTO, preset
from onefield.configs.reading import changed
from onefield.configs.runs import Run, RunConfig, configure, open_run, run, score, start_run
from onefield.data.structure_from_motion.processing import is_processed
from onefield.errors import DivergedError, InterruptedRun, UsageError
from onefield.reports.figures import duration
from onefield.reports.run_report import report_folder, report_run
from onefield.tools.compiling import announce_compilation
from onefield.tools.output import TrainingDisplay, say, seconds_of, show
from onefield.tools.photo_options import AS_THEY_ARE, PhotoOptions, supervision_lines
from onefield.tools.signals import StopSignals
from onefield.tools.surface import exported_if_any
from onefield.tools.view import field_page
from onefield.training.loop import Outcome, Progress
from onefield.training.run_folder import RunFolder
from onefield.viewing.gate import LOCAL, Gate
from onefield.viewing.page import FieldPage
from onefield.viewing.server import serving

MESH = "mesh.glb"


def run_command(
    scene: Annotated[Path, tyro.conf.Positional],
    /,
    method: str = AUTO,
    steps: int | None = None,
    time: str | None = None,
    output: Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    set: tuple[str, ...] = (),
    photos: Annotated[PhotoOptions, tyro.conf.arg(name="")] = AS_THEY_ARE,
    view: bool = False,
    gate: Annotated[Gate, tyro.conf.arg(name="")] = LOCAL,
    json: bool = False,
) -> None:
    """Trains a scene and scores it on the views that were held out.

    Args:
        scene: folder of the dataset (its format is found out), or of plain photos, or a video, which are processed
            first; with --resume the folder of a run, or one above it.
        method: preset: ngp (hash grid and occupancy grid), nerfacto (hash grid and proposals), dense (grid), nerf
            (network), sdf (surface), neus (surface, sharp), occ-sdf (surface, from distance and occupancy; learns from
            maps of depth and normals), flexicubes (mesh, from photos with masks), splat (Gaussians), surfels (flat
            Gaussians, for surfaces), raygauss (rays through Gaussians) or sparse-splat (two to five photos with depth);
            auto takes ngp for objects before nothing and nerfacto for open scenes.
        steps: training steps; the method's own number by default, and the run's from now on with --resume.
        time: training time instead, such as 90s, 10m or 1.5h.
        output: the run's folder; runs/SCENE/METHOD-TIME by default.
        resume: go on with the run at this path, or with the newest below it.
        seed: of all random numbers; 0 by default.
        set: further settings as key=value, such as field.levels=12 losses.distortion=0.01, or distractors=dual (with
            --method splat) for photos that passers-by walk through.
        photos: what to make of them.
        view: open a page in which the field is seen while it is trained; training can be paused there.
        gate: where that page is, and who may open it.
        json: print the result as JSON.
    """
    with serving(gate, "training") if view else nullcontext() as server:
        if resume:
            _refuse_changes({"method": method != AUTO, "seed": seed is not None, "set": bool(set)} | photos.given())
            opened = open_run(scene if output is None else output, trained=False)
            opened = _with_budget(opened, steps, time)
        else:
            seconds = None if time is None else seconds_of(time)
            if method != AUTO:
                changed(preset(method), list(set))  # a name that isn't there is said before photos are placed
            config: RunConfig = configure(
                _posed(scene), method, steps=steps, seconds=seconds, seed=seed, changes=list(set)
            )
            opened = start_run(photos.applied(config), output)
        say(f"{_described(opened)}, into {opened.folder.path}")
        for line in supervision_lines(opened.scene, opened.method):
            say(line)
        page = None if server is None else field_page(server, opened, training=True)
        if page is not None:
            say(f"open {gate.page} to see it learn")
        train_and_score(opened, resume, json, page)


def _posed(scene: Path) -> Path:
    """The scene itself, or the one that its plain photos or its video give."""
    from onefield.data.formats import recognise
    from onefield.data.structure_from_motion.photos import is_photos_or_video

    if RunFolder.is_run(scene):
        raise UsageError(f"{scene} is a run, not a dataset; go on with it by --resume.")
    if recognise(scene) is not None or not is_photos_or_video(scene):
        return scene
    from onefield.data.structure_from_motion.processing import Request
    from onefield.tools.process import process_shown

    say(f"{scene} has no camera poses: finding them first, as 'onefield process' does")
    done = process_shown(Request(scene))
    say(f"{done.registered} of {done.pictures} photos placed; scene: {done.scene}")
    return done.scene


def train_to_end(opened: Run, resume: bool = False, page: FieldPage | None = None) -> Outcome:
    """Trains a run with its progress shown, in the terminal and on the page where there is one.

    Raises:
        InterruptedRun: a signal stopped it; its state is saved, and its report says what was measured so far.
        DivergedError: as `run`.
    """
    announce_compilation()
    try:
        with StopSignals() as signals, TrainingDisplay() as display:

            def observe(progress: Progress) -> None:
                display(progress)
                if page is not None:
                    page.after_step(progress, signals.stop_asked)

            outcome = run(opened, resume=resume, observe=observe, should_stop=signals.stop_asked)
    except DivergedError:
        report_folder(opened.folder)
        raise
    if outcome.interrupted:
        report_folder(opened.folder)
        raise InterruptedRun(
            f"stopped at step {outcome.step} and saved; go on with: onefield train {opened.folder.path} --resume"
        )
    return outcome


def train_and_score(opened: Run, resume: bool, json: bool, page: FieldPage | None = None) -> None:
    """Trains a run to its end, scores it, writes its report and, where it began with plain photos, its mesh.

    Raises:
        InterruptedRun: a signal stopped the training, or what comes behind it.
        DivergedError: as `run`.
    """
    outcome = train_to_end(opened, resume, page)
    say(f"trained {outcome.step} steps in {duration(outcome.elapsed)}")
    try:
        _score_and_show(replace(opened, step=outcome.step), outcome, json, page)
    except KeyboardInterrupt:
        raise InterruptedRun(
            f"stopped after the training, which is saved; score it with: onefield evaluate {opened.folder.path}"
        ) from None


def _score_and_show(opened: Run, outcome: Outcome, json: bool, page: FieldPage | None) -> None:
    """All that follows the training."""
    tell = page.after_training if page is not None else lambda doing: None
    summary, lines = _scored(opened, tell)
    path, exported = opened.folder.exports / MESH, None
    if is_processed(opened.scene.path):
        tell("extracting the mesh")
        exported = exported_if_any(opened, path)
    tell("writing the report")
    report = report_run(opened, None if exported is None else exported.surface.mesh)
    if exported is not None:
        lines.append(f"mesh: {path} ({exported.report.faces:,} faces)")
    lines += [*report_line(report), f"next: onefield render {opened.folder.path}"]
    lines.append(f"      onefield view {opened.folder.path}")
    if exported is None:
        lines.append(f"      onefield export {opened.folder.path} --to {MESH}")
    result = {"run": str(opened.folder.path), "step": outcome.step, "seconds": outcome.elapsed}
    files = {"report": report and str(report), "mesh": exported and str(path)}
    show(result | files | summary, json, lines)


def _scored(opened: Run, tell: Callable[[str], None]) -> tuple[dict, list[str]]:
    """The figures of the held-out views, and lines about them."""
    total = len(opened.scene.test_indices)
    if total == 0:
        return {}, ["No view is held out: nothing to score."]
    say(f"scoring {total} held-out views")
    tell(f"scoring view 1 of {total}")
    summary = score(opened, observe=lambda done, _: tell(f"scoring view {min(done + 1, total)} of {total}")).summary()
    return summary, [
        f"{summary['views']} held-out views over a {summary['background']} background: "
        f"PSNR {summary['psnr']:.2f} dB, SSIM {summary['ssim']:.4f}",
        f"scored: {summary['protocol']}",
        f"pictures: {opened.folder.evaluation}",
    ]


def report_line(report: Path | None) -> list[str]:
    """Where the report is, if it was written."""
    return [] if report is None else [f"report: {report}"]


def _refuse_changes(given: dict[str, bool]) -> None:
    named = [f"--{option}" for option, is_given in given.items() if is_given]
    if named:
        raise UsageError(f"--resume keeps the run's own settings; leave out {', '.join(named)}, or train anew.")


def _with_budget(opened: Run, steps: int | None, time: str | None) -> Run:
    if time is not None:
        raise UsageError("--resume keeps the run's own budget; leave --time out, or give --steps to train longer.")
    return opened if steps is None else opened.lasting(steps)


def _described(opened: Run) -> str:
    scene = opened.scene
    settings = opened.method.settings
    budget = f"{settings.steps} steps" if settings.seconds is None else duration(settings.seconds)
    return (
        f"{scene.name} ({scene.format}): {len(scene.train_indices)} views to train on, {len(scene.test_indices)} held "
        f"out; method {opened.method.name} for {budget}"
    )
