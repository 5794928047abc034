"""Fields like those of a dataset, drawn from the law of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from onefield.training.field_dataset import FieldDataset, weight_layout, with_weights
from onefield.training.fitted import Fitted
from onefield.training.tensor_file import TensorFile
from onefield.training.weight_space.diffusion import Schedule, WeightDiffusion, WeightTransformer, learn_diffusion
from onefield.training.weight_space.learning import Sitting
from onefield.training.weight_space.scores import Likeness, answers, held_out, likeness
from onefield.training.weight_space.stored import named, start_tensors, stored_start

GENERATOR_FILE = TensorFile(
    "onefield_field_generator", 1, "generator of fields", "learn one by 'onefield learn DATASET --by diffusion'"
)
_NETWORK = "network."
_WIDTH, _BLOCKS, _STEPS = 64, 3, 1000


@dataclass(frozen=True)
class FieldGenerator:
    """A law of fields.

    Attributes:
        diffusion: of their weights.
        start: their common start, which says domain and representation.
        fields: from how many it was learned.
    """

    diffusion: WeightDiffusion
    start: Fitted
    fields: int

    def drawn(self, count: int, seed: int = 0) -> list[Fitted]:
        """So many new fields.

        Args:
            seed: of the noise that they begin with.
        """
        return [with_weights(self.start, row) for row in self.diffusion.sample(count, seed=seed)]

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file that `load_field_generator` opens.

        Raises:
            ResourceError: the file can't be written.
        """
        diffusion = self.diffusion
        tensors = {_NETWORK + name: tensor for name, tensor in diffusion.network.state_dict().items()}
        tensors |= {"mean": diffusion.mean, "scales": diffusion.scales, "kept": diffusion.schedule.kept}
        facts = {"start": self.start.facts(), "fields": self.fields, "width": diffusion.network.width}
        facts["blocks"] = len(diffusion.network.blocks.layers)
        GENERATOR_FILE.write(path, facts, tensors | start_tensors(self.start))


def load_field_generator(path: str | Path) -> FieldGenerator:
    """Opens what `FieldGenerator.save` wrote.

    Raises:
        DataError: missing, damaged, or no such model.
    """
    with GENERATOR_FILE.opened(path) as (facts, tensors):
        start = stored_start(facts, tensors, path)
        network = WeightTransformer(weight_layout(start.field), facts["width"], facts["blocks"])
        network.load_state_dict(named(tensors, _NETWORK))
        diffusion = WeightDiffusion(network, tensors["mean"], tensors["scales"], Schedule(tensors["kept"]))
        return FieldGenerator(diffusion, start, int(facts["fields"]))


@dataclass(frozen=True)
class Generation:
    """A generator and how it did.

    Attributes:
        generator: what was learned.
        generated: likeness of as many fields as were held out to these.
        learned_from: the same of as many of the fields that it learned from, which is what can be hoped for.
    """

    generator: FieldGenerator
    generated: Likeness
    learned_from: Likeness


def learn_field_generator(
    dataset: FieldDataset,
    *,
    steps: int | None = None,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
    sitting: Sitting | None = None,
) -> Generation | None:
    """Learns the law of three quarters of a dataset's fields, and compares what it draws with the others.

    Args:
        steps: of learning; 1,000 by default.
        seed: of all random numbers.
        observe: is told how far it is.
        sitting: where it is kept when it is stopped; None does not stop.

    Returns:
        None if it was stopped.

    Raises:
        UsageError: fewer than 8 fields, or fields that are no networks of plain layers.
    """
    known, held = held_out(dataset, seed)
    diffusion = learn_diffusion(
        dataset.weights[known],
        dataset.layout,
        width=_WIDTH,
        blocks=_BLOCKS,
        steps=_STEPS if steps is None else steps,
        seed=seed,
        observe=observe,
        sitting=sitting,
    )
    if diffusion is None:
        return None
    real = answers(dataset.start, dataset.weights[held])
    drawn = answers(dataset.start, diffusion.sample(len(held), seed=seed))
    # rows come label by label
    some = known[torch.linspace(0, len(known) - 1, len(held)).round().long()]
    learned_from = answers(dataset.start, dataset.weights[some])
    generator = FieldGenerator(diffusion, dataset.start, len(known))
    return Generation(generator, likeness(drawn, real), likeness(learned_from, real))
