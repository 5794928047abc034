"""2D Gaussian splatting (Huang et al. 2024): discs instead of ellipsoids, for surfaces."""

from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig
from onefield.configs.presets.splat import SPLAT
from onefield.configs.renderers import Splat

# Middles move six times as fast as in the papers, whose runs are ten times as long.
SURFELS = MethodConfig(
    method="surfels",
    field=GaussianSet(mean_rate=1e-3),
    renderer=Splat(primitive="surfels"),
    losses={
        "l1": 0.8,
        "dssim": 0.2,
        "mask": 0.1,
        "normal_consistency": 0.05,
        "opacity_mean": 0.01,
    },
    training=SPLAT.training,
)
