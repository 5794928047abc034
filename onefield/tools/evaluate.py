"""``onefield evaluate``: how good a run is on views that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from onefield.configs.runs import open_run, score
from onefield.errors import UsageError
from onefield.reports.run_report import report_run
from onefield.tools.output import say, show
from onefield.tools.train import report_line
from onefield.training.evaluation import Evaluation, views_of
from onefield.training.lpips import read_lpips_weights


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    split: Literal["held-out", "training"] = "held-out",
    lpips: Path | None = None,
    json: bool = False,
) -> None:
    """Renders views of a run in full, compares them with their photos, and writes the run's report.

    Args:
        run: folder of the run.
        split: views to score, those that were held out or those that were trained on.
        lpips: also score LPIPS with the weights in this safetensors file (docs/methods.md says what it holds).
        json: print the result as JSON.
    """
    perception = None if lpips is None else read_lpips_weights(lpips)
    opened = open_run(run)
    views = views_of(opened.scene, split)
    if len(views) == 0:
        raise UsageError(f"{run} has no {split} views to evaluate.")
    say(f"step {opened.step} of {opened.folder.path}: {len(views)} {split} views")
    evaluation = score(opened, split, lambda done, total: say(f"view {done} of {total}"), perception)
    lines = _table(evaluation)
    lines.append(f"scored: {evaluation.protocol}")
    pictures = opened.folder.evaluation if split == "held-out" else opened.folder.evaluation / split
    lines.append(f"pictures (truth, rendering, error): {pictures}")
    report = report_run(opened)
    lines += report_line(report)
    result = {"run": str(opened.folder.path), "step": opened.step, "report": report and str(report)}
    show(result | evaluation.as_json(), json, lines)


def _table(evaluation: Evaluation) -> list[str]:
    summary = evaluation.summary()
    asked = evaluation.lpips_network is not None
    lines = [f"{'view':<24} {'PSNR':>7} {'SSIM':>8} {'MS-SSIM':>8}" + f" {'LPIPS':>8}" * asked]
    for view in evaluation.views:
        multi = f"{'':>8}" if view.ms_ssim is None else f"{view.ms_ssim:8.4f}"
        perceived = "" if view.lpips is None else f" {view.lpips:8.4f}"
        lines.append(f"{view.view[-24:]:<24} {view.psnr:7.2f} {view.ssim:8.4f} {multi}{perceived}".rstrip())
    means = [f"PSNR {summary['psnr']:.2f} dB", f"SSIM {summary['ssim']:.4f}"]
    if asked:
        means.append(f"LPIPS ({evaluation.lpips_network}, lower is better) {summary['lpips']:.4f}")
    lines.append(
        f"mean of {summary['views']} {evaluation.split} views over a {summary['background']} background: "
        + ", ".join(means)
    )
    return lines
