"""2D Gaussian splatting (Huang et al. 2024): discs instead of ellipsoids, for surfaces."""

from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig
from onefield.configs.renderers import Splat
from onefield.training.settings import TrainingSettings

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
    training=TrainingSettings(
        steps=3000,
        samples_per_step=2**18,
        first_rays=2**18,
        most_rays=2**18,
        warmup=0.0,
        decay_start=1.0,
        beta2=0.999,
    ),
)
