"""``onefield edit``: merge, cut, clean and move files of Gaussians."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.fields.gaussian_sets import cropped_gaussians, merged_gaussians, opaque_gaussians, with_degree
from onefield.files import make_folder
from onefield.tools.output import say, show
from onefield.types import Bounds, Gaussians

MOST_DEGREE = 3


def run_command(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    to: Path,
    crop: tuple[float, float, float, float, float, float] | None = None,
    prune: float = 0.0,
    degree: int | None = None,
    scale: float = 1.0,
    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0),
    move: tuple[float, float, float] = (0.0, 0.0, 0.0),
    json: bool = False,
) -> None:
    """Merges files of Gaussians into one, cuts, cleans and moves it, and writes it in any of their formats.

    What is asked for happens in the order of the options. Colours turn along with the Gaussians.

    Args:
        files: one or more files (.ply, .splat, .spz, .glb); several become one set.
        to: file to write; its suffix says the format.
        crop: keep those within the box from the corner X Y Z to the corner X Y Z.
        prune: drop those whose opacity, 0 to 1, is below.
        degree: of the harmonics that colours depend on direction by, 0 (none) to 3; by default those of the files.
        scale: enlarge by this factor about the origin.
        rotate: degrees about the axes x, then y, then z, through the origin.
        move: shift along x, y, z, in the units of the scaled set.
        json: print the result as JSON.
    """
    if not files:
        raise UsageError("give one or more files of Gaussians to edit, and --to FILE.")
    _check(prune, degree, scale, (*(crop or ()), *rotate, *move))
    sets = [read_gaussians(path) for path in files]
    wanted = max(one.degree for one in sets) if degree is None else degree
    gaussians = merged_gaussians([with_degree(one, wanted) for one in sets])
    before = len(gaussians)
    if crop is not None:
        gaussians = _some(cropped_gaussians(gaussians, Bounds(crop[:3], crop[3:])), f"the box {crop}", sets)
    if prune:
        gaussians = _some(opaque_gaussians(gaussians, prune), f"opacities of {prune} and above", sets)
    if scale != 1 or any(rotate) or any(move):
        translation = torch.tensor(move, dtype=torch.float64)
        gaussians = moved_gaussians(gaussians, scale, rotation_about_axes(rotate), translation)
    make_folder(to.parent)
    written = export_gaussians(gaussians, to)
    if len(gaussians) < before:
        say(f"{before - len(gaussians):,} of {before:,} Gaussians were left out")
    result = {"file": str(to), "gaussians": len(gaussians), "read": before, "bytes": written.size}
    line = f"{to}: {len(gaussians):,} Gaussians of degree {wanted}, {written.size / 2**20:.1f} MiB"
    show(result | {"degree": wanted, "notes": list(written.notes)}, json, [line])


def rotation_about_axes(degrees: tuple[float, float, float]) -> Float[Tensor, "3 3"]:
    """The rotation about x, then about y, then about z, all of them fixed, right-handed axes; float64."""
    rotation = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(map(math.radians, degrees)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, dtype=torch.float64)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[other, one], turn[one, other] = math.sin(angle), -math.sin(angle)
        rotation = turn @ rotation
    return rotation


def _check(prune: float, degree: int | None, scale: float, others: tuple[float, ...]) -> None:
    if not 0 <= prune <= 1:
        raise UsageError(f"--prune takes an opacity between 0 and 1, got {prune}.")
    if degree is not None and not 0 <= degree <= MOST_DEGREE:
        raise UsageError(f"--degree takes 0 to {MOST_DEGREE}, got {degree}.")
    if not (scale > 0 and math.isfinite(scale)):
        raise UsageError(f"--scale takes a number above 0, got {scale}.")
    if not all(map(math.isfinite, others)):
        raise UsageError("--crop, --rotate and --move take finite numbers.")


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
