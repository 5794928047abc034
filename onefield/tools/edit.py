"""``onefield edit``: merge, cut, clean and move files of Gaussians."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import tyro

from onefield.errors import DataError, UsageError
from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.fields.gaussian_sets import cropped_gaussians, merged_gaussians, opaque_gaussians, with_degree
from onefield.files import make_folder
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.tools.motion import AS_IT_STANDS, Motion
from onefield.tools.output import say, show
from onefield.types import Bounds, Gaussians


def run_command(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    to: Path,
    crop: tuple[float, float, float, float, float, float] | None = None,
    prune: float = 0.0,
    degree: int | None = None,
    motion: Annotated[Motion, tyro.conf.arg(name="")] = AS_IT_STANDS,
    json: bool = False,
) -> None:
    """Merges files of Gaussians into one, cuts, cleans and moves it, and writes it in any of their formats.

    What is asked for happens in the order of the options. Colours turn along with the Gaussians.

    Args:
        files: one or more files (.ply, .splat, .spz, .glb); several become one set.
        to: file to write; its suffix says the format.
        crop: keep those within the box from the corner X Y Z to the corner X Y Z.
        prune: drop those whose opacity, 0 to 1, is below this.
        degree: of the harmonics that colours depend on direction by, 0 (none) to 3; by default those of the files.
        motion: of what is left.
        json: print the result as JSON.
    """
    if not files:
        raise UsageError("give one or more files of Gaussians to edit, and --to FILE.")
    _check(crop, prune, degree)
    sets = [read_gaussians(path) for path in files]
    wanted = max(one.degree for one in sets) if degree is None else degree
    gaussians = merged_gaussians([with_degree(one, wanted) for one in sets])
    before = len(gaussians)
    if crop is not None:
        gaussians = _some(cropped_gaussians(gaussians, Bounds(crop[:3], crop[3:])), f"the box {crop}", sets)
    if prune:
        gaussians = _some(opaque_gaussians(gaussians, prune), f"opacities of {prune} and above", sets)
    gaussians = motion.applied(gaussians)
    make_folder(to.parent)
    written = export_gaussians(gaussians, to)
    if len(gaussians) < before:
        say(f"{before - len(gaussians):,} of {before:,} Gaussians were left out")
    result = {"file": str(to), "gaussians": len(gaussians), "read": before, "bytes": written.size}
    line = f"{to}: {len(gaussians):,} Gaussians of degree {wanted}, {written.size / 2**20:.1f} MiB"
    show(result | {"degree": wanted, "notes": list(written.notes)}, json, [line])


def _check(crop: tuple[float, ...] | None, prune: float, degree: int | None) -> None:
    if not 0 <= prune <= 1:
        raise UsageError(f"--prune takes an opacity between 0 and 1, got {prune}.")
    if degree is not None and not 0 <= degree <= MOST_DEGREE:
        raise UsageError(f"--degree takes 0 to {MOST_DEGREE}, got {degree}.")
    if crop is not None and not all(map(math.isfinite, crop)):
        raise UsageError(f"--crop takes finite numbers, got {crop}.")


def _some(gaussians: Gaussians, what: str, sets: list[Gaussians]) -> Gaussians:
    if len(gaussians):
        return gaussians
    low = torch.stack([one.means.amin(0) for one in sets]).amin(0).tolist()
    high = torch.stack([one.means.amax(0) for one in sets]).amax(0).tolist()
    opacity = max(float(torch.sigmoid(one.opacities).max()) for one in sets)
    raise DataError(
        f"None of the Gaussians lies within {what}; they reach from {_rounded(low)} to {_rounded(high)} and their "
        f"opacities up to {opacity:.3f}."
    )


def _rounded(corner: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in corner) + ")"
