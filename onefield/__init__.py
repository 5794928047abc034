"""Onefield: neural fields and 3D reconstruction behind one interface.

The names below are imported when they are first used, so that ``import onefield`` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onefield.configs.runs import Run, open_run, score, train
    from onefield.data.formats import load_scene
    from onefield.errors import OnefieldError
    from onefield.export.formats import export_mesh, read_mesh
    from onefield.fields.field import Field
    from onefield.fields.gradients import spatial_gradient
    from onefield.meshing.level_sets import extract_mesh
    from onefield.renderers.volume import VolumeRenderer
    from onefield.training.fit import fit
    from onefield.types import Bounds, Mesh, Rays, Rendering, Sample

_HOME = {
    "Bounds": "onefield.types",
    "Field": "onefield.fields.field",
    "Mesh": "onefield.types",
    "OnefieldError": "onefield.errors",
    "Rays": "onefield.types",
    "Rendering": "onefield.types",
    "Run": "onefield.configs.runs",
    "Sample": "onefield.types",
    "VolumeRenderer": "onefield.renderers.volume",
    "export_mesh": "onefield.export.formats",
    "extract_mesh": "onefield.meshing.level_sets",
    "fit": "onefield.training.fit",
    "load_scene": "onefield.data.formats",
    "open_run": "onefield.configs.runs",
    "read_mesh": "onefield.export.formats",
    "score": "onefield.configs.runs",
    "spatial_gradient": "onefield.fields.gradients",
    "train": "onefield.configs.runs",
}

__all__ = [
    "Bounds",
    "Field",
    "Mesh",
    "OnefieldError",
    "Rays",
    "Rendering",
    "Run",
    "Sample",
    "VolumeRenderer",
    "export_mesh",
    "extract_mesh",
    "fit",
    "load_scene",
    "open_run",
    "read_mesh",
    "score",
    "spatial_gradient",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'onefield' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
