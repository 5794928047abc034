"""Learning from a dataset of fields: ``onefield learn DATASET --by diffusion|graph``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from onefield.errors import DataError, InterruptedRun, UsageError
from onefield.files import make_folder
from onefield.tools.output import say, show
from onefield.tools.pictures import write_rows
from onefield.tools.signals import StopSignals
from onefield.training.field_dataset import FieldDataset, is_field_dataset, load_field_dataset
from onefield.training.fitted import Fitted
from onefield.training.weight_space.generator import Generation, learn_field_generator
from onefield.training.weight_space.judge import learn_field_judge, sitting_paths
from onefield.training.weight_space.learning import Sitting
from onefield.training.weight_space.scores import Likeness

# Fields that a picture shows.
_SHOWN = 8


def learn_from_fields(
    folder: Path, by: str, path: Path, *, steps: int | None, seed: int, resume: bool, json: bool
) -> None:
    """Learns a generator (``"diffusion"``) or a judge (``"graph"``) from a dataset of fields, and says how it does.

    Raises:
        UsageError: too few fields, or something unfinished without ``resume``.
        DataError: no dataset of fields.
        InterruptedRun: a signal stopped it; what was learned is saved.
    """
    if not is_field_dataset(folder):
        raise DataError(
            f"{folder} is no dataset of fields; make one by 'onefield fit FOLDER_OF_SIGNALS --output {folder}'."
        )
    dataset = load_field_dataset(folder)
    say(f"{folder}: {len(dataset)} fields of {dataset.weights.shape[1]:,} parameters, '{dataset.start.recipe.field}'")
    make_folder(path.parent)
    unfinished = path.with_name(f"{path.stem}.unfinished.safetensors")
    left = [each for each in [unfinished, *sitting_paths(unfinished)] if each.exists()]
    if left and not resume:
        raise UsageError(f"{left[0]} is from a run that was stopped; go on with it by --resume, or remove it.")
    if resume and not left:
        raise UsageError(f"There is nothing to resume: {unfinished} does not exist; leave out --resume.")
    with StopSignals() as signals:
        sitting = Sitting(unfinished, signals.stop_asked)
        told = (_generator if by == "diffusion" else _judge)(dataset, path, steps, seed, sitting)
    if told is None:
        raise InterruptedRun("stopped; what was learned is saved, go on by the same command with --resume")
    for each in [unfinished, *sitting_paths(unfinished)]:
        each.unlink(missing_ok=True)
    result, lines = told
    show({"file": str(path), "by": by, "fields": len(dataset)} | result, json, lines)


def _generator(
    dataset: FieldDataset, path: Path, steps: int | None, seed: int, sitting: Sitting
) -> tuple[dict[str, object], list[str]] | None:
    learned = learn_field_generator(dataset, steps=steps, seed=seed, observe=say, sitting=sitting)
    if learned is None:
        return None
    learned.generator.save(path)
    written = [path, *_picture(dataset, learned, path, seed)]
    result = {"generated": asdict(learned.generated), "learned_from": asdict(learned.learned_from)}
    lines = [
        f"generated against held out:    {_likeness(learned.generated)}",
        f"learned from against held out: {_likeness(learned.learned_from)}",
        *(f"wrote {each}" for each in written),
        f"next: onefield generate {path} --count 16",
    ]
    return result, lines


def _likeness(likeness: Likeness) -> str:
    return (
        f"1-NN accuracy {likeness.nearest_neighbour:.2f} (0.5 is alike), coverage {likeness.coverage:.2f}, "
        f"distance {likeness.distance:.3f}"
    )


def _picture(dataset: FieldDataset, learned: Generation, path: Path, seed: int) -> list[Path]:
    """Of pictures: some of the dataset, beneath them new ones, and beneath these what of the dataset is nearest."""
    if dataset.start.kind != "image":
        return []
    known = [as_picture(dataset.fitted(row)) for row in dataset.weights]
    new = [as_picture(fitted) for fitted in learned.generator.drawn(_SHOWN, seed)]
    gaps = torch.cdist(torch.stack(new).flatten(1), torch.stack(known).flatten(1))
    some = torch.linspace(0, len(known) - 1, _SHOWN).round().long().tolist()
    picture = path.with_suffix(".png")
    write_rows(picture, [[known[index] for index in some], new, [known[index] for index in gaps.argmin(1).tolist()]])
    return [picture]


def as_picture(fitted: Fitted) -> torch.Tensor:
    """A field of a picture with its range as that from black to white; channels beyond a picture's are left out."""
    values = (fitted.reconstruction() - fitted.target.offset) / (2 * fitted.target.scale) + 0.5
    return values if values.shape[-1] in (1, 3, 4) else values[..., :1]


def _judge(
    dataset: FieldDataset, path: Path, steps: int | None, seed: int, sitting: Sitting
) -> tuple[dict[str, object], list[str]] | None:
    lesson = learn_field_judge(dataset, steps=steps, seed=seed, observe=say, sitting=sitting)
    if lesson is None:
        return None
    lesson.judge.save(path)
    result = {"learned_from": lesson.fields, "held_out": lesson.held, "labels": lesson.judge.labels}
    result |= {"right": lesson.right, "chance": lesson.chance, "measure": lesson.judge.measure}
    result |= {"error": lesson.error, "error_of_mean": lesson.error_of_mean}
    lines = []
    if lesson.right is not None:
        lines.append(
            f"labels of {lesson.right:.0%} of {lesson.held} held-out fields are right; always "
            f"the most frequent one: {lesson.chance:.0%}"
        )
    if lesson.error is not None:
        lines.append(
            f"{lesson.judge.measure} is told to within {lesson.error:.3g}; by the mean: {lesson.error_of_mean:.3g}"
        )
    return result, [*lines, f"wrote {path}", f"next: onefield predict {path} FIT"]
