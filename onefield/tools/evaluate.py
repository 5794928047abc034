"""``onefield evaluate``: how good a run is on views that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from onefield.configs.runs import open_run, score
from onefield.errors import UsageError
from onefield.tools.output import say, show


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    split: Literal["held-out", "training"] = "held-out",
    json: bool = False,
) -> None:
    """Renders views of a run in full and compares them with their photos.

    Args:
        run: folder of the run.
        split: which views.
        json: print the result as JSON.
    """
    opened = open_run(run)
    views = opened.scene.test_indices if split == "held-out" else opened.scene.train_indices
    if len(views) == 0:
        raise UsageError(f"{run} has no {split} views to evaluate.")
    say(f"step {opened.step} of {opened.folder.path}: {len(views)} {split} views")
    evaluation = score(opened, split, lambda done, total: say(f"view {done} of {total}"))
    summary = evaluation.summary()
    lines = [f"{'view':<24} {'PSNR':>7} {'SSIM':>8} {'MS-SSIM':>8}"]
    for view in evaluation.views:
        multi = "" if view.ms_ssim is None else f"{view.ms_ssim:8.4f}"
        lines.append(f"{view.view[-24:]:<24} {view.psnr:7.2f} {view.ssim:8.4f} {multi}")
    lines.append(
        f"mean of {summary['views']} {split} views over a {summary['background']} background: "
        f"PSNR {summary['psnr']:.2f} dB, SSIM {summary['ssim']:.4f}"
    )
    lines.append(f"pictures (truth, rendering, error): {opened.folder.evaluation}")
    show({"run": str(opened.folder.path), "step": opened.step, **evaluation.as_json()}, json, lines)
