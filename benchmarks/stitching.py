"""What stitching does to a colour cast: a trained set cut in two, one half tinted, and joined again.

    python benchmarks/stitching.py SCENE [--downscale 8] [--steps 600] [--gaussians 10000] [--views 20]

Trains splats, cuts them at the median of their middles along x, tints the right half and joins it to the left by
``onefield stitch``, with and without harmonising. Told, for each cast: the jump of colours across the seam (what the
target's Gaussians there have more than the source's, a mean), how much differences of colour between nearest neighbours
inside the target change, against how large they are; how far colours are from those of the uncut set, weighed by
opacity; whether the source's rows in the written file are the same to the bit; and PSNR of held-out views. Colours are
constant harmonics. Prints a line of JSON a row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from scipy.spatial import cKDTree
from short_runs import some_held_out
from torch import Tensor

from onefield.configs.runs import Run, configure, run, start_run
from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.fields.gaussian_stitching import boundary_between
from onefield.fields.gaussians import GaussianField
from onefield.tools import stitch
from onefield.training.evaluation import evaluate
from onefield.types import Gaussians

# Gains and shifts of red, green and blue as constant harmonics, of which 0.28 make one unit of colour.
CASTS = {
    "shift": ((1.0, 1.0, 1.0), (0.5, -0.3, 0.2)),
    "gain": ((0.75, 1.0, 1.2), (0.0, 0.0, 0.0)),
    "gain and shift": ((0.75, 1.0, 1.2), (0.3, -0.2, 0.1)),
}
# Gaussians that are fainter show as little as their colours mean.
SHOWN = 0.1


def tinted(some: Gaussians, gain: tuple[float, ...], shift: tuple[float, ...]) -> Gaussians:
    first, *higher = some.harmonics
    tinted_first = first * torch.tensor(gain) + torch.tensor(shift)
    return replace(some, harmonics=(tinted_first, *(band * torch.tensor(gain) for band in higher)))


def jump(target: Gaussians, source: Gaussians) -> Tensor:
    """Mean step of each channel from the source to the target at the seam."""
    boundary = boundary_between(target, source)
    return torch.from_numpy((boundary.own - boundary.colors).mean(0))


def gradients(some: Gaussians, inside: Tensor) -> Tensor:
    """Differences of colours between each inner Gaussian that shows and its nearest."""
    chosen = some[inside & (some.opacities.sigmoid() > SHOWN)]
    nearest = cKDTree(chosen.means.numpy()).query(chosen.means.numpy(), k=2)[1][:, 1]
    colors = chosen.harmonics[0][:, 0]
    return colors - colors[nearest]


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def distance(some: Gaussians, truth: Gaussians) -> float:
    """Between colours, weighed by opacity."""
    weights = truth.opacities.sigmoid()[:, None].expand(-1, 3)
    off = (some.harmonics[0][:, 0] - truth.harmonics[0][:, 0]).square()
    return round(float(((weights * off).sum() / weights.sum()).sqrt()), 4)


def scored(trained: Run, some: Gaussians) -> float:
    method = replace(trained.method, field=GaussianField(trained.method.field.domain, some))
    return round(evaluate(method, trained.scene).summary()["psnr"], 2)


def same_bits(one: Gaussians, other: Gaussians) -> bool:
    parts = [(s.means, s.log_scales, s.quaternions, s.opacities, *s.harmonics) for s in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*parts, strict=True))


def rows(trained: Run, whole: Gaussians, folder: Path) -> None:
    left = whole.means[:, 0] < whole.means[:, 0].median()
    source, truth = whole[left], whole[~left]
    export_gaussians(source, folder / "source.ply")
    inner = torch.from_numpy(~boundary_between(truth, source).members)
    uncut = {"cast": "none", "gaussians": len(whole), "jump": round(rms(jump(truth, source)), 4)}
    print(json.dumps(uncut | {"psnr": scored(trained, whole)}), flush=True)
    for name, (gain, shift) in CASTS.items():
        target = tinted(truth, gain, shift)
        export_gaussians(target, folder / "target.ply")
        joined = {}
        for harmonize in (False, True):
            stitch.run_command(
                folder / "source.ply", folder / "target.ply", to=folder / "both.ply", harmonize=harmonize, json=True
            )
            joined[harmonize] = read_gaussians(folder / "both.ply")
        before, after = (joined[harmonize][len(source) :] for harmonize in (False, True))
        jumps = [rms(jump(part, source)) for part in (before, after)]
        was, now = gradients(before, inner), gradients(after, inner)
        told = {
            "cast": name,
            "jump_before": round(jumps[0], 4),
            "jump_after": round(jumps[1], 4),
            "jump_falls_percent": round(100 * (1 - jumps[1] / jumps[0]), 1),
            "gradients_change_percent": round(100 * rms(now - was) / rms(was), 1),
            "distance_before": distance(before, truth),
            "distance_after": distance(after, truth),
            "source_same_bits": same_bits(joined[True][: len(source)], source),
            "psnr_before": scored(trained, joined[False]),
            "psnr_after": scored(trained, joined[True]),
        }
        print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--views", type=int, default=20, help="held-out views that are scored")
    arguments = parser.parse_args()
    changes = [f"field.most={arguments.gaussians}", f"field.first={arguments.gaussians // 2}"]
    with tempfile.TemporaryDirectory() as folder:
        config = configure(
            arguments.scene, "splat", steps=arguments.steps, downscale=arguments.downscale, changes=changes
        )
        trained = start_run(config, Path(folder) / "run")
        run(trained)
        trained = replace(trained, scene=some_held_out(trained.scene, arguments.views))
        with torch.no_grad():
            learned = trained.method.field.gaussians()
            whole = learned[torch.arange(len(learned))]
        rows(trained, whole, Path(folder))


if __name__ == "__main__":
    main()
