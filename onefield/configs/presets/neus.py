"""A signed distance by the law of NeuS (Wang et al. 2021) on a hash grid: for the surfaces of objects."""

from onefield.configs.fields import DistanceField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy
from onefield.training.settings import TrainingSettings

NEUS = MethodConfig(
    method="neus",
    field=DistanceField(law="neus", beta=0.05, anneal=0.2, first_levels=4),
    sampler=Occupancy(),
    losses={"huber": 1.0, "eikonal": 0.01, "curvature": 0.005, "mask": 0.02},
    background="auto",
    training=TrainingSettings(encoding_rate=5e-3, network_rate=2e-3),
)
