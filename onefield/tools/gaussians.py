"""From a trained run to a file of Gaussians in the dataset's own coordinates."""

from __future__ import annotations

from pathlib import Path

from onefield.configs.runs import Run
from onefield.errors import UsageError
from onefield.export.formats import Export
from onefield.export.gaussian_formats import export_gaussians, named_for_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.fields.gaussian_sets import cropped_gaussians
from onefield.fields.gaussians import HasGaussians
from onefield.files import make_folder
from onefield.types import Bounds


def wants_gaussians(opened: Run, path: Path) -> bool:
    """Whether a file is to hold a run's Gaussians rather than its surface: a matter of the name and, for ``.ply`` and
    ``.html``, of the field.

    Raises:
        UsageError: a name of Gaussians, but the run has none.
    """
    if named_for_gaussians(path):
        wanted = True
    else:
        wanted = path.suffix.lower() in (".ply", ".html") and isinstance(opened.method.field, HasGaussians)
    if not wanted or isinstance(opened.method.field, HasGaussians):
        return wanted
    raise UsageError(
        f"{path} is to hold Gaussians, but {opened.folder.path} has none; train with '--method splat', or export its "
        "surface to .glb, .ply, .obj, .stl or .usda."
    )


def export_splats(opened: Run, path: Path, bounds: Bounds | None = None) -> tuple[Export, int]:
    """Writes a run's Gaussians in the dataset's coordinates and units; says what was written, and how many they are.

    Args:
        bounds: box of the scene's frame that their middles must lie in; None keeps all.

    Raises:
        DataError: none lies in the box.
    """
    gaussians = opened.method.field.gaussians()
    if bounds is not None:
        gaussians = cropped_gaussians(gaussians, bounds)
    back = opened.scene.transform.inverse()
    make_folder(path.parent)
    moved = moved_gaussians(gaussians, back.scale, back.rotation, back.translation)
    return export_gaussians(moved, path), len(gaussians)
