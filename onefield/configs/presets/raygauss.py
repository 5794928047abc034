"""RayGauss (Blanc et al. 2025): rays cast through Gaussians, densified as a Markov chain (Kheradmand et al. 2024)."""

from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig
from onefield.configs.renderers import RayCast
from onefield.training.settings import TrainingSettings

RAYGAUSS = MethodConfig(
    method="raygauss",
    field=GaussianSet(most=30_000, degree=2, lobes=7),
    renderer=RayCast(),
    losses={"l1": 1.0, "opacity_mean": 0.01, "scale_mean": 0.01},
    training=TrainingSettings(
        steps=2000,
        samples_per_step=2**18,
        first_rays=2**12,
        most_rays=2**12,
        warmup=0.0,
        decay_start=1.0,
        beta2=0.999,
    ),
)
