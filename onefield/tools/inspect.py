"""``onefield inspect``: what a folder or file is, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.errors import DataError, OnefieldError, UsageError
from onefield.tools.output import show
from onefield.tools.weight_files import described_weights


def run_command(
    path: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    system: bool = False,
    json: bool = False,
) -> None:
    """Says what is at a path: dataset, run, fit, compressed fit, dataset of fields, what signals, meshes or fields have
    taught, mesh, Gaussians, points, slices, signal or folder of them; changes nothing.

    Args:
        path: folder or file.
        system: describe this machine instead: memory, caches, accelerators, kernels and why references ran.
        json: print the result as JSON.
    """
    if system:
        from onefield.kernels.system import describe_system

        report = describe_system()
        show(report.as_json(), json, report.lines())
        return
    if path is None:
        raise UsageError("give a path to inspect, or --system for this machine.")
    if not path.exists():
        raise DataError(f"{path} does not exist; check the spelling.")
    result, lines = _described(path)
    show(result, json, lines)


def _described(path: Path) -> tuple[dict, list[str]]:
    from onefield.data.inspect import inspect_dataset
    from onefield.data.points import is_point_file
    from onefield.export import onef
    from onefield.export.formats import MESH_FORMATS
    from onefield.export.gaussian_formats import holds_gaussians
    from onefield.training.completion import holds_completion
    from onefield.training.field_dataset import is_field_dataset
    from onefield.training.run_folder import RunFolder

    if holds_completion(path):
        return _completion(path)
    if is_field_dataset(path):
        return _field_dataset(path)
    weights = described_weights(path)
    if weights is not None:
        return weights
    if path.is_file() and path.suffix.lower() == onef.SUFFIX:
        return _compressed(path)
    if path.is_file() and holds_gaussians(path):
        return _gaussians(path)
    if path.is_file() and is_point_file(path):
        return _signal(path)
    if path.is_file() and path.suffix.lower() in MESH_FORMATS:
        return _mesh(path)
    if path.is_dir() and RunFolder.is_run(path):
        return _run(path)
    if _is_signal(path):
        return _signal(path)
    signals = _signals(path)
    if signals is not None and signals[0]["pictures"] == 0:
        return signals
    summary = inspect_dataset(path)
    if signals is None:
        return summary.as_json(), summary.lines()
    return summary.as_json() | {"signals": signals[0]}, [*summary.lines(), *signals[1]]


def _is_signal(path: Path) -> bool:
    """Folders and JSON files may be datasets or slices."""
    from onefield.data.formats import recognise
    from onefield.data.slice_files import holds_slices
    from onefield.data.strict_json import read_json_object

    if path.is_dir():
        return recognise(path) is None and holds_slices(path)
    return path.suffix.lower() != ".json" or "slices" in read_json_object(path)


def _signals(path: Path) -> tuple[dict, list[str]] | None:
    """What `fit` makes of a folder that is no dataset; None for all else."""
    from onefield.data.formats import recognise
    from onefield.data.signal_files import PICTURE_SUFFIXES
    from onefield.data.signal_folders import holds_many_signals, signal_files

    if not path.is_dir() or recognise(path) is not None:
        return None
    try:
        files = signal_files(path)
    except DataError:
        return None
    pictures = sum(file.suffix.lower() in PICTURE_SUFFIXES for file in files.values())
    many = holds_many_signals(path)
    line = f"{len(files)} signals, each fitted by itself" if many else f"the {len(files)} frames of one video"
    return {"kind": "signals" if many else "video", "files": len(files), "pictures": pictures}, [
        f"{path}: for 'onefield fit', {line}"
    ]


def _compressed(path: Path) -> tuple[dict, list[str]]:
    from onefield.training.compression import decompress

    decoded = decompress(path.read_bytes(), path)
    fitted, size = decoded.fitted, path.stat().st_size
    result = {"kind": "compressed signal", "file": str(path), "signal": fitted.kind, "field": fitted.recipe.field}
    result |= {"shape": list(fitted.shape), "bytes": size, "bit_planes": decoded.planes}
    samples = " of " + " x ".join(map(str, reversed(fitted.shape))) + " samples" if fitted.shape else ""
    lines = [
        f"{path}: {fitted.kind}{samples} by a field of '{fitted.recipe.field}', {size:,} bytes",
        f"{decoded.bits:.2f} bits a parameter in {decoded.planes} bit planes; every part is whole",
    ]
    return result | {"bits_per_parameter": decoded.bits}, lines


def _mesh(path: Path) -> tuple[dict, list[str]]:
    import torch

    from onefield.export.formats import read_mesh
    from onefield.meshing.report import report_mesh
    from onefield.types import Mesh

    mesh = read_mesh(path)
    places, at = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    twice = len(mesh.vertices) - len(places)
    report = report_mesh(Mesh(places, at[mesh.faces.long()]) if twice else mesh)
    lines = [f"{path}: mesh", *report.lines()]
    if twice:
        lines.insert(1, f"{twice} vertices that lie where others do, as at a texture's seams, count as one with these")
    return {"kind": "mesh", "file": str(path), **report.as_json()}, lines


def _gaussians(path: Path) -> tuple[dict, list[str]]:
    from onefield.export.gaussian_formats import read_gaussians

    read = read_gaussians(path)
    low, high = read.means.amin(0).tolist(), read.means.amax(0).tolist()
    result = {"kind": "gaussians", "file": str(path), "gaussians": len(read), "degree": read.degree}
    corners = [", ".join(f"{value:.4g}" for value in corner) for corner in (low, high)]
    lines = [
        f"{path}: {len(read):,} Gaussians with harmonics of degree {read.degree}",
        f"middles from ({corners[0]}) to ({corners[1]})",
    ]
    return result | {"minimum": low, "maximum": high}, lines


def _signal(path: Path) -> tuple[dict, list[str]]:
    from onefield.data.signals import load_signal

    signal = load_signal(path)
    return {"kind": signal.kind, "file": str(path)}, [f"{path}: {signal.description}"]


def _completion(path: Path) -> tuple[dict, list[str]]:
    from onefield.training.completion import load_completion

    learned = load_completion(path)
    parameters = sum(weight.numel() for weight in learned.network.parameters())
    planned = learned.recipe.steps
    result = {"kind": "completion", "field": learned.recipe.field, "step": learned.step, "steps": planned}
    lines = [
        f"{path}: weights of {learned.recipe.field}, which complete points; {parameters:,} numbers",
        f"step {learned.step} of {planned}, learned from {', '.join(learned.shapes)}",
        f"next: onefield fit points.ply --weights {path}",
    ]
    return result | {"parameters": parameters, "shapes": list(learned.shapes)}, lines


def _field_dataset(path: Path) -> tuple[dict, list[str]]:
    from collections import Counter

    from onefield.training.field_dataset import load_field_dataset

    dataset = load_field_dataset(path)
    (count, numbers), field, labels = dataset.weights.shape, dataset.start.recipe.field, Counter(dataset.labels)
    result = {"kind": "dataset of fields", "fields": count, "parameters": numbers, "field": field, "labels": labels}
    lines = [
        f"{path}: dataset of {count} fields of '{field}', {numbers:,} numbers each, of kind {dataset.start.kind}",
        f"labels: {', '.join(f'{label} ({n})' for label, n in labels.items()) if set(labels) != {''} else 'none'}",
        f"next: onefield learn {path} --by diffusion",
    ]
    return result, lines


def _run(path: Path) -> tuple[dict, list[str]]:
    from onefield.configs.runs import read_config
    from onefield.training.checkpoints import load_checkpoint
    from onefield.training.run_folder import RunFolder

    folder = RunFolder.find(path)
    config = read_config(folder)
    problems: list[str] = []
    try:
        checkpoint = load_checkpoint(folder.checkpoints, method=config.method.method)
        state = f"step {checkpoint.step}"
    except OnefieldError as error:
        problems.append(str(error))
        state = "no checkpoint that can be used"
    result = {"kind": "run", "scene": config.scene, "method": config.method.method, "state": state}
    lines = [f"{path}: run of {config.method.method} on {config.scene}, {state}", *problems]
    return result | {"problems": problems}, lines
