"""Ready-made methods, one file each; listing one here makes it a name for ``--method``."""

from onefield.configs.method import MethodConfig
from onefield.configs.presets.dense import DENSE
from onefield.configs.presets.nerf import NERF
from onefield.configs.presets.ngp import NGP
from onefield.configs.presets.sdf import SDF
from onefield.errors import UsageError, nearest_name

PRESETS: dict[str, MethodConfig] = {preset.method: preset for preset in (NGP, NERF, DENSE, SDF)}


def preset(name: str) -> MethodConfig:
    """The configuration of that name.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if name not in PRESETS:
        raise UsageError(f"Unknown method '{name}': {nearest_name(name, tuple(PRESETS))}.")
    return PRESETS[name]
