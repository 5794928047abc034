"""Two to five photos with depth as coherent Gaussians of their pixels (CoherentGS, Paliwal et al. 2024)."""

from onefield.configs.method import MethodConfig
from onefield.configs.pixel_gaussians import PixelSet
from onefield.configs.renderers import Splat
from onefield.training.settings import TrainingSettings

SPARSE_SPLAT = MethodConfig(
    method="sparse-splat",
    field=PixelSet(),
    renderer=Splat(),
    losses={"l1": 0.8, "dssim": 0.2, "depth_variation": 5.0, "match_distance": 0.1},
    training=TrainingSettings(
        steps=1500,
        samples_per_step=2**20,
        first_rays=2**20,
        most_rays=2**20,
        warmup=0.0,
        decay_start=1.0,
        beta2=0.999,
    ),
)
