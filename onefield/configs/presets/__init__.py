"""Ready-made methods, one file each; listing one here makes it a name for ``--method``."""

from onefield.configs.method import MethodConfig
from onefield.configs.presets.dense import DENSE
from onefield.configs.presets.flexicubes import FLEXICUBES
from onefield.configs.presets.nerf import NERF
from onefield.configs.presets.nerfacto import NERFACTO
from onefield.configs.presets.neus import NEUS
from onefield.configs.presets.ngp import NGP
from onefield.configs.presets.occ_sdf import OCC_SDF
from onefield.configs.presets.raygauss import RAYGAUSS
from onefield.configs.presets.sdf import SDF
from onefield.configs.presets.sparse_splat import SPARSE_SPLAT
from onefield.configs.presets.splat import SPLAT
from onefield.configs.presets.surfels import SURFELS
from onefield.data.scene import Scene
from onefield.errors import UsageError, nearest_name

AUTO = "auto"
"""The preset that suits a scene."""

PRESETS: dict[str, MethodConfig] = {
    preset.method: preset
    for preset in (NGP, NERFACTO, NERF, DENSE, SDF, NEUS, OCC_SDF, FLEXICUBES, SPLAT, SURFELS, RAYGAUSS, SPARSE_SPLAT)
}


def preset(name: str) -> MethodConfig:
    """The configuration of that name.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if name not in PRESETS:
        raise UsageError(f"Unknown method '{name}': {nearest_name(str(name), (AUTO, *PRESETS))}.")
    return PRESETS[name]


def suited(scene: Scene) -> MethodConfig:
    """What learns a scene fastest: an occupancy grid where most rays cross air, proposals where all see something."""
    return NGP if scene.bounded else NERFACTO
