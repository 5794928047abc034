"""Datasets whose samples are fields: many signals, each fitted by the same network from the same first numbers.

A common start keeps the networks' weights comparable (HyperDiffusion, Erkoc et al. 2023, section 3.1): the first signal
is fitted from random numbers, and what comes out is where all fits begin, that of the first signal too.

On disk::

    dataset.json          settings; rerunning with others is refused
    start.safetensors     the common start
    fields/NAME.safetensors   a fit each, as `onefield fit` writes it; NAME as in the folder of signals
    index.json            names, labels and metrics, of all that are done
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Shape, Signal, load_signal, signal_of
from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.files import make_folder, write_atomically
from onefield.training.fit import fit
from onefield.training.fit_methods import LearnedStart
from onefield.training.fitted import Fitted, load_fitted
from onefield.training.recipes import build_field, initial_field, recipe_for, target_of

Source = str | Path | np.ndarray | Tensor | Signal | Shape
FORMAT, VERSION = "onefield dataset of fields", 1
SETTINGS_FILE, START_FILE, INDEX_FILE, FIELDS_FOLDER = "dataset.json", "start.safetensors", "index.json", "fields"
# Small enough for models of weights, large enough for small pictures.
DEFAULT_PARAMETERS = 3000
_SUFFIX = ".safetensors"


class Stopped(Exception):
    """Raised inside a fit that is given up."""


def flatten_weights(field: Field) -> Float[Tensor, "p"]:
    """All numbers that a field learns, in one row."""
    return torch.cat([p.detach().flatten() for p in field.parameters()])


def weight_layout(field: Field) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of what `flatten_weights` puts in a row, in its order."""
    return tuple((name, tuple(p.shape)) for name, p in field.named_parameters())


@torch.no_grad()
def assign_weights(field: Field, weights: Float[Tensor, "p"]) -> None:
    """Puts a row of `flatten_weights` into a field of the same layout.

    Raises:
        DataError: a row of another length.
    """
    parameters = list(field.parameters())
    counts = [p.numel() for p in parameters]
    if weights.shape != (sum(counts),):
        raise DataError(f"The field learns {sum(counts)} numbers, but the row has shape {tuple(weights.shape)}.")
    for parameter, part in zip(parameters, weights.split(counts), strict=True):
        parameter.copy_(part.reshape(parameter.shape))


def with_weights(start: Fitted, weights: Float[Tensor, "p"]) -> Fitted:
    """A field with these weights, of the make and on the domain of a common start.

    Raises:
        DataError: a row of another length.
    """
    field = build_field(start.recipe.field, start.recipe.options, start.target)
    field.load_state_dict(start.field.state_dict())
    assign_weights(field, weights)
    return replace(start, field=field, metrics={})


@dataclass(frozen=True)
class FieldDataset:
    """Many fields of one kind as one matrix.

    Attributes:
        weights: a field a row.
        layout: names and shapes of the tensors of which a row is made, in their order.
        names: of the signals, as in their folder.
        labels: the folder within the folder in which each signal lay, empty for those that lay in none.
        metrics: of each fit, as `Fitted.metrics`.
        start: the common start, which also says representation, size, and the range of values of `fitted`.
    """

    weights: Float[Tensor, "n p"]
    layout: tuple[tuple[str, tuple[int, ...]], ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[dict[str, float], ...]
    start: Fitted

    def __len__(self) -> int:
        return len(self.names)

    def fitted(self, weights: Float[Tensor, "p"]) -> Fitted:
        """A field with these weights; such as one of the rows, or a generated one."""
        return with_weights(self.start, weights)


def fit_dataset(
    signals: Mapping[str, Source],
    folder: str | Path,
    field: str = "siren",
    *,
    parameters: int = DEFAULT_PARAMETERS,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    observe: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FieldDataset | None:
    """Fits each signal by a field of the same size from a common start, one file a field.

    Args:
        signals: files, arrays or what `load_signal` gives, by names; what stands before a slash is the label.
        folder: made where missing.
        field: a representation, by name; ``"auto"`` is ``"siren"``.
        parameters: numbers of each field, at most.
        steps: of each fit, and of the start's; None takes the recipe's.
        seed: of all random numbers.
        resume: go on in a folder that holds a part of the fields.
        observe: is told of each field.
        should_stop: asked some twenty times a fit; true gives up the one at hand, keeps all others and ends.

    Returns:
        The dataset; None if it was stopped.

    Raises:
        UsageError: an unknown representation, a name that is no file's, something in the folder already, or other
            settings on resuming.
        DataError: signals that can't be read or are not alike.
    """
    _check_names(signals)
    chosen = "siren" if field == "auto" else field
    settings = {"format": FORMAT, "version": VERSION, "field": chosen}
    settings |= {"parameters": parameters, "steps": steps, "seed": seed}
    place = _begun(Path(folder), settings, resume)
    say = observe or (lambda said: None)

    def watch(said: str) -> None:
        if should_stop is not None and should_stop():
            raise Stopped

    try:
        start = _start(signals, place, settings, watch, say)
        for number, (name, source) in enumerate(signals.items(), start=1):
            path = place / FIELDS_FOLDER / (name + _SUFFIX)
            if path.exists():
                continue
            watch("")
            fitted = _fit_from(start, _read(source, name), steps, seed, watch)
            make_folder(path.parent)
            fitted.save(path)
            say(f"{number} of {len(signals)}  {name}  {_figures(fitted.metrics)}")
    except Stopped:
        _write_index(place)
        return None
    _write_index(place)
    return load_field_dataset(place)


def _check_names(signals: Mapping[str, Source]) -> None:
    if not signals:
        raise DataError("A dataset of fields needs at least one signal.")
    for name in signals:
        # a file begins with its name, below the folder of fields; those that begin with a dot are unfinished
        if not (isinstance(name, str) and all(part and not part.startswith(".") for part in name.split("/"))):
            raise UsageError(
                f"A signal can't be called {name!r}; give a name without dots before it, such as 'label/name'."
            )


def load_field_dataset(folder: str | Path) -> FieldDataset:
    """Opens what `fit_dataset` wrote, or the part of it that is there.

    Raises:
        DataError: no dataset, of a newer version, without fields, or with a field of another kind or not readable.
    """
    place = Path(folder)
    _read_settings(place)
    start = load_fitted(place / START_FILE)
    layout, rows, names, metrics = weight_layout(start.field), [], [], []
    for path in _field_files(place):
        fitted = load_fitted(path)
        if weight_layout(fitted.field) != layout:
            raise DataError(f"{path} is a field of another kind than {place / START_FILE}; remove it.")
        rows.append(flatten_weights(fitted.field))
        names.append(path.relative_to(place / FIELDS_FOLDER).as_posix().removesuffix(_SUFFIX))
        metrics.append(fitted.metrics)
    if not rows:
        raise DataError(f"{place} holds no fields yet; go on with 'onefield fit ... --output {place} --resume'.")
    return FieldDataset(torch.stack(rows), layout, tuple(names), tuple(map(_label, names)), tuple(metrics), start)


def is_field_dataset(folder: str | Path) -> bool:
    """Whether a folder says that it is a dataset of fields."""
    return (Path(folder) / SETTINGS_FILE).is_file()


def _label(name: str) -> str:
    return name.rpartition("/")[0]


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {metrics[name]:.4g}" for name in ("psnr", "iou", "seconds") if name in metrics)


def _read(source: Source, name: str) -> Signal | Shape:
    if isinstance(source, str | Path):
        source = load_signal(source)
    elif isinstance(source, np.ndarray | Tensor):
        source = signal_of(source)
    if not isinstance(source, Signal | Shape):
        raise DataError(f"{name} is {source.description}; a dataset of fields takes pictures, sounds, volumes, meshes.")
    return source


def _begun(place: Path, settings: dict, resume: bool) -> Path:
    """The folder, with its settings in it."""
    if resume:
        former = _read_settings(place)
        for key, value in settings.items():
            if former.get(key) != value:
                raise UsageError(f"{place} was begun with {key} {former.get(key)}, not {value}; go on with that.")
        return place
    if place.is_dir() and not _holds_nothing(place):
        raise UsageError(f"{place} is not empty; give a new folder, or go on with what is there by --resume.")
    make_folder(place / FIELDS_FOLDER)
    write_atomically(place / SETTINGS_FILE, json.dumps(settings, indent=1).encode())
    return place


def _holds_nothing(place: Path) -> bool:
    """Whether a folder is empty, or holds no more than the settings of a dataset that was given up before its start."""
    return {path.name for path in place.iterdir()} <= {SETTINGS_FILE, FIELDS_FOLDER} and not _field_files(place)


def _read_settings(place: Path) -> dict:
    path = place / SETTINGS_FILE
    try:
        settings = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{place} is no dataset of fields: it has no {SETTINGS_FILE}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise DataError(f"{path} is not that of a dataset of fields.")
    if settings.get("version") != VERSION:
        raise DataError(
            f"{path} is of version {settings.get('version')}, but this Onefield reads {VERSION}; update it."
        )
    return settings


def _start(
    signals: Mapping[str, Source],
    place: Path,
    settings: dict,
    watch: Callable[[str], None],
    say: Callable[[str], None],
) -> Fitted:
    """The common start: that in the folder, else the first signal's fit from random numbers."""
    path = place / START_FILE
    if path.exists():
        return load_fitted(path)
    name, source = next(iter(signals.items()))
    signal = _read(source, name)
    say(f"the common start, from {name}")
    recipe = recipe_for(settings["field"], signal, parameters=settings["parameters"])
    fitted = fit(signal, recipe, steps=settings["steps"], seed=settings["seed"], observe=watch)
    fitted.save(path)
    return fitted


def _fit_from(
    start: Fitted, signal: Signal | Shape, steps: int | None, seed: int, watch: Callable[[str], None]
) -> Fitted:
    """A fit of another signal by the same network, from the same first numbers."""
    channels = signal.channels if isinstance(signal, Signal) else 1
    if (signal.kind, channels) != (start.kind, start.target.channels):
        raise DataError(
            f"{signal.description} does not go with a start of kind {start.kind} and {start.target.channels} channels; "
            "signals of a dataset must be alike."
        )
    if isinstance(signal, Signal):
        begun = LearnedStart(start.recipe, dict(start.field.named_parameters()), 1)
        return fit(signal, start.recipe, methods=[begun], steps=steps, seed=seed, observe=watch)
    field = initial_field(start.recipe, target_of(signal, start.recipe.field), seed)
    assign_weights(field, flatten_weights(start.field))
    chosen = start.recipe.steps if steps is None else steps
    return replace(fit(signal, field, steps=chosen, seed=seed, observe=watch), recipe=start.recipe)


def _field_files(place: Path) -> list[Path]:
    folder = place / FIELDS_FOLDER
    # files in the midst of being written begin with a dot
    return sorted(path for path in folder.rglob("*" + _SUFFIX) if not path.name.startswith("."))


def _write_index(place: Path) -> None:
    """Names, labels and metrics of all fields that are done, for people and other programs."""
    if not (place / START_FILE).exists() or not _field_files(place):
        return
    dataset = load_field_dataset(place)
    entries = [
        {"name": name, "label": label, "metrics": metrics}
        for name, label, metrics in zip(dataset.names, dataset.labels, dataset.metrics, strict=True)
    ]
    write_atomically(place / INDEX_FILE, json.dumps({"fields": entries}, indent=1).encode())
