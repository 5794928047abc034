"""The list of scene formats, and `load_scene`, which finds out by itself what a folder is."""

from __future__ import annotations

from pathlib import Path

from onefield.data.assembly import LoadOptions, assemble
from onefield.data.blender import BLENDER
from onefield.data.capture import SceneFormat
from onefield.data.colmap import COLMAP
from onefield.data.dataset_paths import IMAGE_SUFFIXES, is_folder
from onefield.data.dtu import DTU
from onefield.data.image_store import DEFAULT_BYTE_BUDGET
from onefield.data.llff import LLFF
from onefield.data.metashape import METASHAPE
from onefield.data.polycam import POLYCAM
from onefield.data.realityscan import REALITYSCAN
from onefield.data.record3d import RECORD3D
from onefield.data.replica import REPLICA
from onefield.data.scannet import SCANNET
from onefield.data.scene import Scene
from onefield.data.transforms_json import TRANSFORMS_JSON
from onefield.errors import DataError

# In the order of trust: where a folder holds several, the first one is read. COLMAP's model says more than LLFF's table
# that was derived from it.
SCENE_FORMATS: tuple[SceneFormat, ...] = (
    DTU,
    BLENDER,
    TRANSFORMS_JSON,
    COLMAP,
    LLFF,
    POLYCAM,
    RECORD3D,
    METASHAPE,
    REALITYSCAN,
    SCANNET,
    REPLICA,
)


def recognise(path: Path) -> SceneFormat | None:
    """The format of a folder or file; None for anything else."""
    return next((form for form in SCENE_FORMATS if form.recognises(path)), None)


def load_scene(
    path: str | Path,
    *,
    hold_out_every: int = 8,
    downscale: int | None = None,
    byte_budget: int = DEFAULT_BYTE_BUDGET,
    masks: str = "auto",
    depth_unit: float | None = None,
    depth_kind: str = "auto",
) -> Scene:
    """A scene from posed images in any format of `SCENE_FORMATS`.

    Args:
        path: folder of the dataset, or its transforms.json.
        hold_out_every: where the format has no test views, every n-th view in sorted order is held out; 0 for none.
        downscale: whole factor by which pictures shrink (area averages; intrinsics follow exactly).
        byte_budget: bytes of decoded pictures to keep in memory.
        masks: ``"auto"``, ``"ignore"``, ``"carve"``, ``"alpha"`` or ``"none"``, see `LoadOptions`.
        depth_unit, depth_kind: what the numbers of depth maps mean, see `LoadOptions`.

    Returns:
        A scene whose region of interest is [-1, 1]^3; ``scene.transform`` leads back to the dataset's frame.

    Raises:
        DataError: no such folder, no known format, or broken files, images or cameras.
        UsageError: an option out of range.
    """
    path = Path(path)
    options = LoadOptions(hold_out_every, downscale, byte_budget, masks, depth_unit, depth_kind)
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise DataError(f"{path} doesn't exist; give the folder of a dataset.")
    form = recognise(path)
    if form is None:
        raise DataError(_unknown(path))
    return assemble(form.read(path), path, options)


def _unknown(path: Path) -> str:
    looked_for = "; ".join(form.looked_for for form in SCENE_FORMATS)
    if not is_folder(path):
        return f"{path} is no scene; give the folder of a dataset, with one of: {looked_for}."
    photos = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*"))
    if photos:
        return (
            f"{path} has {photos} images but no camera poses; find them first with 'onefield process', or add one of: "
            f"{looked_for}."
        )
    return f"{path} is no scene that is known; looked for: {looked_for}."
