"""Fields told apart, and their quality told, by their weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from onefield.errors import UsageError
from onefield.training.field_dataset import FieldDataset, flatten_weights, weight_layout
from onefield.training.fitted import Fitted
from onefield.training.tensor_file import TensorFile
from onefield.training.weight_space.graph_network import WeightGraphNetwork, WeightPredictor, learn_from_weights
from onefield.training.weight_space.learning import Sitting
from onefield.training.weight_space.scores import held_out, most_frequent
from onefield.training.weight_space.stored import named, start_tensors, stored_start

JUDGE_FILE = TensorFile(
    "onefield_field_judge", 1, "judge of fields", "learn one by 'onefield learn DATASET --by graph'"
)
_LABEL, _QUALITY = "label", "quality"
_MEASURES = ("psnr", "iou")
_STEPS = 400


@dataclass(frozen=True)
class Judgement:
    """What a field's weights tell.

    Attributes:
        probabilities: of each label, none where the fields that were learned from had one label at most.
        quality: that its fit should have, in the unit of `FieldJudge.measure`; None where they told none.
    """

    probabilities: dict[str, float]
    quality: float | None


@dataclass(frozen=True)
class FieldJudge:
    """Graph networks that read fields off their weights.

    Attributes:
        start: the common start of the fields that were learned from.
        labels: that they had.
        label: of which one it tells the logits; None where there was one label at most.
        measure: what quality is: ``"psnr"``, dB, or ``"iou"``.
        quality: tells it; None where the fits told none.
    """

    start: Fitted
    labels: tuple[str, ...]
    label: WeightPredictor | None
    measure: str | None
    quality: WeightPredictor | None

    def told(self, fitted: Fitted) -> Judgement:
        """What a field is.

        Raises:
            UsageError: a network of another shape than those that were learned from.
        """
        if weight_layout(fitted.field) != weight_layout(self.start.field):
            raise UsageError(
                "the field has other layers than those that the model learned from; fit the signal into that dataset."
            )
        row = flatten_weights(fitted.field)[None]
        probabilities = (
            {} if self.label is None else dict(zip(self.labels, self.label(row)[0].softmax(0).tolist(), strict=True))
        )
        return Judgement(probabilities, None if self.quality is None else self.quality(row)[0, 0].item())

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file that `load_field_judge` opens.

        Raises:
            ResourceError: the file can't be written.
        """
        facts: dict[str, object] = {"start": self.start.facts(), "labels": self.labels, "measure": self.measure}
        tensors: dict[str, Tensor] = {}
        for name, predictor in ((_LABEL, self.label), (_QUALITY, self.quality)):
            if predictor is not None:
                facts[name] = {"offset": predictor.offset, "spread": predictor.spread}
                tensors |= {f"{name}.network.{key}": t for key, t in predictor.network.state_dict().items()}
                tensors[f"{name}.scales"] = predictor.scales
        JUDGE_FILE.write(path, facts, tensors | start_tensors(self.start))


def load_field_judge(path: str | Path) -> FieldJudge:
    """Opens what `FieldJudge.save` wrote.

    Raises:
        DataError: missing, damaged, or no such model.
    """
    with JUDGE_FILE.opened(path) as (facts, tensors):
        start, labels = stored_start(facts, tensors, path), tuple(facts["labels"])
        told = {
            name: _predictor(facts[name], named(tensors, f"{name}."), start, outputs)
            for name, outputs in ((_LABEL, len(labels)), (_QUALITY, 1))
            if name in facts
        }
        return FieldJudge(start, labels, told.get(_LABEL), facts["measure"], told.get(_QUALITY))


def _predictor(said: Mapping, tensors: Mapping[str, Tensor], start: Fitted, outputs: int) -> WeightPredictor:
    network = WeightGraphNetwork(weight_layout(start.field), outputs, kinds=2)
    network.load_state_dict(named(tensors, "network."))
    return WeightPredictor(network, tensors["scales"], said["offset"], said["spread"], flatten_weights(start.field))


@dataclass(frozen=True)
class Lesson:
    """A judge and how it did on fields that were held out.

    Attributes:
        judge: what was learned.
        fields, held: how many it learned from and was tested with.
        right: share of labels that it told; None without labels.
        chance: share of the most frequent label.
        error: mean absolute one of the quality; None without.
        error_of_mean: the same of the mean quality of those learned from.
    """

    judge: FieldJudge
    fields: int
    held: int
    right: float | None = None
    chance: float | None = None
    error: float | None = None
    error_of_mean: float | None = None


def learn_field_judge(
    dataset: FieldDataset,
    *,
    steps: int | None = None,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
    sitting: Sitting | None = None,
) -> Lesson | None:
    """Learns labels and quality from three quarters of a dataset's fields, and tells those of the others.

    Args:
        steps: of each of the two networks; 400 by default.
        seed: of all random numbers.
        observe: is told how far it is.
        sitting: where it is kept when it is stopped; None does not stop.

    Returns:
        None if it was stopped.

    Raises:
        UsageError: fewer than 8 fields, neither labels nor quality, or fields that are no networks of plain layers.
    """
    known, held = held_out(dataset, seed)
    labels = tuple(sorted(set(dataset.labels)))
    measure = next((name for name in _MEASURES if all(name in metrics for metrics in dataset.metrics)), None)
    if len(labels) < 2 and measure is None:
        raise UsageError("The fields have neither labels (folders within the folder) nor figures to learn.")
    start, say = flatten_weights(dataset.start.field), observe or (lambda said: None)

    def learned(name: str, targets: Tensor) -> WeightPredictor | None:
        say(f"{name} of {len(known)} fields")
        return learn_from_weights(
            dataset.weights[known],
            dataset.layout,
            targets[known],
            start=start,
            steps=_STEPS if steps is None else steps,
            seed=seed,
            observe=observe,
            sitting=None if sitting is None else replace(sitting, path=sitting_path(sitting.path, name)),
        )

    lesson = Lesson(FieldJudge(dataset.start, labels, None, measure, None), len(known), len(held))
    if len(labels) > 1:
        told = learned(_LABEL, torch.tensor([labels.index(label) for label in dataset.labels]))
        if told is None:
            return None
        lesson = _tested_labels(lesson, told, dataset, held)
    if measure is not None:
        values = torch.tensor([metrics[measure] for metrics in dataset.metrics])
        told = learned(_QUALITY, values)
        if told is None:
            return None
        error = (told(dataset.weights[held])[:, 0] - values[held]).abs().mean().item()
        of_mean = (values[known].mean() - values[held]).abs().mean().item()
        lesson = replace(lesson, judge=replace(lesson.judge, quality=told), error=error, error_of_mean=of_mean)
    return lesson


def sitting_path(path: Path, name: str) -> Path:
    """Where one of the two networks is kept."""
    return path.with_name(f"{path.stem}-{name}{path.suffix}")


def sitting_paths(path: Path) -> list[Path]:
    """Where all of them are."""
    return [sitting_path(path, name) for name in (_LABEL, _QUALITY)]


def _tested_labels(lesson: Lesson, told: WeightPredictor, dataset: FieldDataset, held: Tensor) -> Lesson:
    truth = [dataset.labels[row] for row in held.tolist()]
    said = [lesson.judge.labels[index] for index in told(dataset.weights[held]).argmax(1).tolist()]
    right = sum(a == b for a, b in zip(truth, said, strict=True)) / len(truth)
    return replace(lesson, judge=replace(lesson.judge, label=told), right=right, chance=most_frequent(truth))
