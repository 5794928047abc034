"""What other programs read in the files of Gaussians that Onefield writes, and what it reads in theirs.

    python benchmarks/gaussian_readers.py [--gaussians 500]

Random Gaussians with harmonics of degree 3 go through each program that is found: plyfile and gsply as installed
packages, splat-transform by its name on the PATH. Told are the largest differences, in the numbers of a .ply, to what
Onefield reads in the same file; quaternions are compared as rotations, and opacities as such. Rows of what isn't there
stay empty.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.types import Gaussians

CONVERTER = "splat-transform"


def gaussians(count: int) -> Gaussians:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    bands = tuple(0.3 * normal(count, 2 * band + 1, 3) for band in range(4))
    return Gaussians(normal(count, 3) * 3, normal(count, 3) - 3, normal(count, 4), 2 * normal(count), bands)


def differences(one: Gaussians, other: Gaussians) -> dict[str, float]:
    turns = [torch.nn.functional.normalize(some.quaternions.double(), dim=1) for some in (one, other)]
    pairs = {
        "means": (one.means, other.means),
        "log-scales": (one.log_scales, other.log_scales),
        "opacities": (one.opacities.sigmoid(), other.opacities.sigmoid()),
        "colours": tuple(torch.cat(some.harmonics, dim=1) for some in (one, other)),
    }
    found = {name: float((a.double() - b.double()).abs().max()) for name, (a, b) in pairs.items()}
    return found | {"rotations": float((1 - (turns[0] * turns[1]).sum(1).abs()).max())}


def by_plyfile(path: Path) -> Gaussians:
    vertices = importlib.import_module("plyfile").PlyData.read(path)["vertex"]

    def columns(*names: str) -> Tensor:
        return torch.stack([torch.from_numpy(vertices[name].copy()) for name in names], dim=1)

    higher = columns(*(f"f_rest_{k}" for k in range(45))).unflatten(1, (3, 15)).mT
    bands = (columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None], *higher.split((3, 5, 7), dim=1))
    turns = columns("rot_0", "rot_1", "rot_2", "rot_3")
    scales = columns("scale_0", "scale_1", "scale_2")
    return Gaussians(columns("x", "y", "z"), scales, turns, columns("opacity")[:, 0], bands)


def by_gsply(path: Path) -> Gaussians:
    found = importlib.import_module("gsply").plyread(path)
    parts = [torch.tensor(part) for part in (found.means, found.scales, found.quats)]
    bands = (torch.tensor(found.sh0)[:, None], *torch.tensor(found.shN).split((3, 5, 7), dim=1))
    return Gaussians(*parts, torch.tensor(found.opacities).reshape(-1), bands)


def converted(source: Path, target: Path, *options: str) -> Gaussians:
    subprocess.run([CONVERTER, "-w", "-q", "-g", "cpu", source, *options, target], check=True, capture_output=True)
    return read_gaussians(target)


def trials(written: dict[str, Path], folder: Path) -> list[tuple[str, str, bool, Callable[[], Gaussians], str]]:
    """Program, what it does, whether it is there, the answer, and the file of ours to compare with."""
    converter = shutil.which(CONVERTER) is not None
    packages = [
        (name, "reads .ply", importlib.util.find_spec(name) is not None, partial(read, written[".ply"]), ".ply")
        for name, read in (("plyfile", by_plyfile), ("gsply", by_gsply))
    ]
    back = [
        (CONVERTER, f"{suffix} to .ply", converter, partial(converted, written[suffix], folder / "back.ply"), suffix)
        for suffix in (".ply", ".splat", ".spz")
    ]
    theirs = [
        (
            CONVERTER, f"writes .spz, version {version}", converter,
            partial(converted, written[".ply"], folder / f"{version}.spz", "--spz-version", version), ".spz",
        )
        for version in ("3", "4")
    ]  # fmt: skip
    return [*packages, *back, *theirs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=500)
    arguments = parser.parse_args()
    table = Table(title="largest differences")
    names = ("means", "log-scales", "opacities", "colours", "rotations")
    for column in ("program", "file", *names):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        some = gaussians(arguments.gaussians)
        written = {suffix: folder / f"set{suffix}" for suffix in (".ply", ".splat", ".spz")}
        for path in written.values():
            export_gaussians(some, path)
        for program, what, there, answer, suffix in trials(written, folder):
            found = differences(answer(), read_gaussians(written[suffix])) if there else {}
            table.add_row(program, what, *(f"{found[name]:.1e}" if there else "" for name in names))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
