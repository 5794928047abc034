"""RayGauss (Blanc et al. 2025): rays cast through Gaussians, densified as a Markov chain (Kheradmand et al. 2024)."""

from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig
from onefield.configs.renderers import RayCast
from onefield.training.settings import TrainingSettings

# A splat that is half opaque lets half of the light through; along a ray there are many, which hide what lies behind.
# At a tenth, 150 steps on the demo scene (64 pixels, 3,000 Gaussians) reached 18.0 dB instead of 15.8; at a fiftieth it
# learned next to nothing.
RAYGAUSS = MethodConfig(
    method="raygauss",
    field=GaussianSet(most=30_000, degree=2, lobes=7, first_opacity=0.1),
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
