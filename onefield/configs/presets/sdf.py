"""A signed distance rendered as volume (VolSDF, Yariv et al. 2021) on a hash grid: for surfaces."""

from onefield.configs.fields import DistanceField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy
from onefield.training.settings import TrainingSettings

SDF = MethodConfig(
    method="sdf",
    field=DistanceField(),
    sampler=Occupancy(),
    losses={"huber": 1.0, "eikonal": 0.01},
    background="auto",
    training=TrainingSettings(encoding_rate=5e-3, network_rate=2e-3),
)
