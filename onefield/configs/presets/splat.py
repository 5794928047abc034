"""3D Gaussian splatting (Kerbl et al. 2023), densified as a Markov chain (Kheradmand et al. 2024)."""

from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig
from onefield.configs.renderers import Splat
from onefield.training.settings import TrainingSettings

SPLAT = MethodConfig(
    method="splat",
    field=GaussianSet(),
    renderer=Splat(),
    losses={"l1": 0.8, "dssim": 0.2, "opacity_mean": 0.01, "scale_mean": 0.01},
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
