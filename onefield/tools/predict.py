"""``onefield predict``: what fields are, and how good their fits, by their weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.errors import DataError, UsageError
from onefield.tools.output import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onefield.training.fitted import Fitted
    from onefield.training.weight_space.judge import Judgement


def run_command(
    model: Annotated[Path, tyro.conf.Positional],
    fits: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    json: bool = False,
) -> None:
    """Tells label and quality of fields without looking at what they answer.

    Args:
        model: file that 'onefield learn DATASET --by graph' wrote.
        fits: fields with the start of that dataset: fits (folders, or the field.safetensors in them), folders that
            'onefield generate' wrote fits into, or datasets of fields.
        json: print the result as JSON.
    """
    from onefield.training.weight_space.judge import load_field_judge

    if not fits:
        raise UsageError("name one or more fits to tell something of.")
    judge = load_field_judge(model)
    told = {}
    for path in fits:
        for name, fitted in _fields(path):
            try:
                told[name] = judge.told(fitted)
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
    result = [
        {"fit": name, "probabilities": each.probabilities, judge.measure or "quality": each.quality}
        for name, each in told.items()
    ]
    show({"fits": result}, json, [f"{name}  {_words(each, judge.measure)}" for name, each in told.items()])


def _words(judgement: Judgement, measure: str | None) -> str:
    said = []
    if judgement.probabilities:
        label = max(judgement.probabilities, key=judgement.probabilities.get)
        said.append(f"{label or '(no label)'} {judgement.probabilities[label]:.0%}")
    if judgement.quality is not None:
        said.append(f"{measure} {judgement.quality:.3g}")
    return ", ".join(said)


def _fields(path: Path) -> Iterator[tuple[str, Fitted]]:
    """The fits at a path, with their names."""
    from onefield.training.field_dataset import is_field_dataset, load_field_dataset
    from onefield.training.fitted import load_fitted

    if is_field_dataset(path):
        dataset = load_field_dataset(path)
        for name, row in zip(dataset.names, dataset.weights, strict=True):
            yield str(path / name), dataset.fitted(row)
        return
    files = [path] if path.is_file() else [path / "field.safetensors"]
    if path.is_dir() and not files[0].exists():
        files = sorted(path.glob("*/field.safetensors"))
    if not files or not files[0].exists():
        raise DataError(f"{path} holds no fit; give what 'onefield fit' or 'onefield generate' wrote.")
    for file in files:
        yield str(file.parent if file.name == "field.safetensors" else file), load_fitted(file)
