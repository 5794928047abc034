"""DVGO (Sun et al. 2022) with an occupancy grid: a dense grid whose density is activated after interpolation."""

from onefield.configs.fields import DenseField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy
from onefield.training.settings import TrainingSettings

DENSE = MethodConfig(
    method="dense",
    field=DenseField(),
    sampler=Occupancy(),
    losses={"huber": 1.0},
    training=TrainingSettings(encoding_rate=0.1, network_rate=1e-3),
)
