"""A mesh optimised through its own pictures: FlexiCubes (Shen et al. 2023), shaded as by Worchel et al. (2022)."""

from onefield.configs.method import MethodConfig
from onefield.configs.renderers import MeshRaster
from onefield.configs.surfaces import SurfaceGrid
from onefield.training.settings import TrainingSettings

FLEXICUBES = MethodConfig(
    method="flexicubes",
    field=SurfaceGrid(),
    renderer=MeshRaster(),
    losses={
        "covered_l1": 1.0,
        "silhouette": 1.0,
        "deviation": 0.5,
        "sign_changes": 0.01,
        "weight_change": 0.01,
        "bending": 0.01,
    },
    training=TrainingSettings(
        steps=600,
        samples_per_step=2**20,
        first_rays=2**20,
        most_rays=2**20,
        encoding_rate=1e-2,
        network_rate=2e-3,
        warmup=0.0,
    ),
)
