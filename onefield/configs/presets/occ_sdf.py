"""A distance and an occupancy from one network, both rendered (Occ-SDF hybrid, Lyu et al. 2023): for surfaces."""

from onefield.configs.fields import DistanceField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy
from onefield.training.settings import TrainingSettings

OCC_SDF = MethodConfig(
    method="occ-sdf",
    field=DistanceField(occupancy=True, first_levels=4),
    sampler=Occupancy(),
    losses={
        "l1": 1.0,
        "feature_color": 1.0,
        "occupied_feature_color": 1.0,
        "eikonal": 0.05,
        "curvature": 0.005,
        "mask": 0.02,
        "occupied_mask": 0.02,
    },
    background="auto",
    training=TrainingSettings(encoding_rate=5e-3, network_rate=2e-3),
)
