"""``onefield stitch``: join a set of Gaussians to another, with colours that go on across the seam."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.errors import DataError
from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.fields.gaussian_sets import cropped_gaussians, merged_gaussians, with_degree
from onefield.fields.gaussian_stitching import boundary_between, harmonized
from onefield.files import make_folder
from onefield.tools.motion import AS_IT_STANDS, Motion
from onefield.tools.output import say, show
from onefield.types import Bounds

Box = tuple[float, float, float, float, float, float]


def run_command(
    source: Annotated[Path, tyro.conf.Positional],
    target: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path,
    cut: Box | None = None,
    keep: Box | None = None,
    motion: Annotated[Motion, tyro.conf.arg(name="")] = AS_IT_STANDS,
    harmonize: bool = True,
    json: bool = False,
) -> None:
    """Joins the target to the source: places it, cuts both, and brings its colours into line with the source's.

    Only the target's colours change; the source is written as it is.

    Args:
        source: file of Gaussians (.ply, .splat, .spz, .glb) that stays.
        target: file of Gaussians that is joined to it.
        to: file to write; its suffix says the format.
        cut: take out of the source what lies within the box from the corner X Y Z to the corner X Y Z.
        keep: of the target only what lies within this box, in its own frame, before it is moved.
        motion: of the target.
        harmonize: adapt the target's colours; --no-harmonize only joins.
        json: print the result as JSON.
    """
    stays, joins = read_gaussians(source), read_gaussians(target)
    if cut is not None:
        stays = stays[~Bounds(cut[:3], cut[3:]).contains(stays.means)]
        if not len(stays):
            raise DataError(f"Nothing of {source} lies outside the box {cut}; take a smaller one.")
    if keep is not None:
        joins = cropped_gaussians(joins, Bounds(keep[:3], keep[3:]))
        if not len(joins):
            raise DataError(f"Nothing of {target} lies within the box {keep}; take a larger one.")
    joins = motion.applied(joins)
    seam = None
    if harmonize:
        boundary = boundary_between(joins, stays)
        seam = int(boundary.members.sum())
        say(f"{seam:,} of the target's {len(joins):,} Gaussians lie at the seam")
        joins = harmonized(joins, boundary)
    degree = max(stays.degree, joins.degree)
    both = merged_gaussians([with_degree(stays, degree), with_degree(joins, degree)])
    make_folder(to.parent)
    written = export_gaussians(both, to)
    result = {"file": str(to), "gaussians": len(both), "source": len(stays), "target": len(joins), "seam": seam}
    line = f"{to}: {len(stays):,} Gaussians of {source.name} and {len(joins):,} of {target.name}"
    show(result | {"bytes": written.size, "notes": list(written.notes)}, json, [line])
