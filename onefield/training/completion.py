"""Learning to complete clouds of points from a collection of closed shapes, and completing with what was learned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape
from onefield.errors import DataError, DivergedError, UsageError, nearest_name
from onefield.fields.conv_occupancy import ConvolutionalOccupancy
from onefield.files import make_folder
from onefield.losses.occupancy import refined_cross_entropy
from onefield.training.checkpoints import load_checkpoint, save_checkpoint
from onefield.training.completion_examples import Solid, draw_example, is_closed
from onefield.training.fitted import Fitted
from onefield.training.metrics import intersection_over_union
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.point_fit import score_points
from onefield.training.recipes import COMPLETION_NAMES, Recipe, Target
from onefield.training.run_folder import RunFolder
from onefield.training.seeds import cpu_generator
from onefield.training.tensor_file import TensorFile

WEIGHTS_FILE = "weights.safetensors"
_FILE = TensorFile(
    "onefield_completion",
    1,
    "completion weights",
    "learn weights first by 'onefield fit FOLDER_OF_MESHES --field NAME'",
)
_SAVE_EVERY = 250
_WARMUP_STEPS = 20
_MOST_BROKEN_STEPS = 10
# Adam's as in the paper of Kingma and Ba; tables of features want others.
_BETA2, _EPSILON = 0.999, 1e-8  # keeps the quotient finite where a gradient is 0
_GENERATOR_KEY = "generator"
_SIZES: dict[str, dict[str, float]] = {
    "conv-occupancy": {"planes": 64, "volume": 0, "channels": 16, "width": 16, "levels": 4, "blocks": 3},
    "conv-occupancy-volume": {"planes": 0, "volume": 32, "channels": 16, "width": 8, "levels": 4, "blocks": 3},
}
_QUERIES = 1024


def completion_recipe(name: str) -> Recipe:
    """Sizes, rate and steps of a network that completes; a batch is so many clouds.

    Raises:
        UsageError: an unknown name.
    """
    if name not in _SIZES:
        raise UsageError(f"'{name}' does not complete points: {nearest_name(name, COMPLETION_NAMES)}.")
    return Recipe(name, dict(_SIZES[name]), 0.0, 2e-3, 0.05, 2, 3000)


@dataclass(frozen=True)
class Completion:
    """A network that turns clouds into solids, and how it was made.

    Attributes:
        recipe: its make.
        shapes: names of those that it learned from.
        step: how many steps it learned.
    """

    network: ConvolutionalOccupancy
    recipe: Recipe
    shapes: tuple[str, ...]
    step: int

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file: the weights, and as metadata all that `load_completion` needs.

        Raises:
            ResourceError: the file can't be written.
        """
        facts = {"recipe": asdict(self.recipe), "shapes": self.shapes, "step": self.step}
        _FILE.write(path, facts, self.network.state_dict())

    def complete(self, points: Points, seed: int = 0) -> Fitted:
        """The solid that the points belong to, as a field of occupancy over the points' domain.

        Args:
            points: without or with normals, which are not looked at.
            seed: of the points by which the mesh is scored.

        Raises:
            DataError: the field has no surface.
        """
        began = time.perf_counter()
        field = self.network.complete(points.cloud.points, points.domain)
        fitted = Fitted(field, Target("occupancy", points.domain, 1, 0.0, 1.0), points.kind, (), {}, self.recipe)
        figures = score_points(fitted.reconstruction(), points, cpu_generator(seed))
        parameters = float(sum(p.numel() for p in self.network.parameters()))
        return replace(fitted, metrics=figures | {"seconds": time.perf_counter() - began, "parameters": parameters})


def build_network(recipe: Recipe) -> ConvolutionalOccupancy:
    """An untrained network of a recipe's sizes."""
    return ConvolutionalOccupancy(**{name: int(size) for name, size in recipe.options.items()})


def holds_completion(path: str | Path) -> bool:
    """Whether a path is a folder in which `learn_completion` left weights, or a file of such weights."""
    path = _weights_path(path)
    return path.suffix == Path(WEIGHTS_FILE).suffix and path.is_file() and _FILE.marks(path)


def _weights_path(path: str | Path) -> Path:
    return Path(path) / WEIGHTS_FILE if Path(path).is_dir() else Path(path)


def load_completion(path: str | Path, name: str | None = None) -> Completion:
    """Opens what `Completion.save` wrote.

    Args:
        path: the file, or the folder in which `learn_completion` left one.
        name: of the network that it must be; None takes any.

    Raises:
        DataError: missing, damaged, or weights of something else.
        UsageError: weights of another network than ``name``.
    """
    path = _weights_path(path)
    with _FILE.opened(path) as (facts, tensors):
        recipe = Recipe(**facts["recipe"])
        network = build_network(recipe)
        network.load_state_dict(tensors)
        completion = Completion(network, recipe, tuple(facts["shapes"]), int(facts["step"]))
    if name not in (None, recipe.field):
        raise UsageError(f"{path} holds weights of '{recipe.field}', not '{name}'; take --field {recipe.field}.")
    return completion


def closed_solids(shapes: dict[str, Shape], seed: int = 0) -> tuple[list[Solid], list[str]]:
    """The shapes that enclose something, and the names of the others.

    Args:
        shapes: by name.
        seed: of the points on their surfaces.

    Raises:
        DataError: none is closed.
    """
    solids = [Solid.of(name, shape, cpu_generator(seed)) for name, shape in shapes.items() if is_closed(shape)]
    if not solids:
        raise DataError(
            f"None of the meshes is closed ({', '.join(shapes)}), so none says what is inside; close their holes first."
        )
    return solids, [name for name in shapes if name not in {solid.name for solid in solids}]


@dataclass(frozen=True)
class Learned:
    """How learning ended.

    Attributes:
        loss: mean cross entropy over the last examples, in nats a query.
        iou: mean agreement over the last examples, which were made of the shapes it learned from.
        elapsed: seconds of learning, over all sittings.
        interrupted: whether it was asked to stop before its budget was spent.
    """

    completion: Completion
    loss: float
    iou: float
    elapsed: float
    interrupted: bool


def learn_completion(
    solids: Sequence[Solid],
    folder: str | Path,
    name: str | Recipe = COMPLETION_NAMES[0],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    resume: bool = False,
    observe: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Learned:
    """Learns from shapes, with checkpoints; ``weights.safetensors`` in the folder is what was learned so far.

    Args:
        folder: made where missing.
        name: of the network, or a recipe of one's own sizes.
        steps: how many; None takes the recipe's, or on resuming those of the run.
        seconds: limit of the time of learning instead.
        seed: of all random numbers. Equal seeds, steps and shapes give equal weights on one machine.
        resume: go on from the newest checkpoint in the folder, to the same numbers as without a stop.
        observe: is told at every checkpoint how far it is.
        should_stop: asked after each step; true saves and ends.

    Raises:
        UsageError: an unknown name, a budget that is not positive, or something in the folder already.
        DataError: resuming where there is no checkpoint, or with other shapes.
        DivergedError: loss or gradients were not finite ten times in a row.
    """
    for kind, budget in (("steps", steps), ("seconds", seconds)):
        if budget is not None and not (math.isfinite(budget) and budget > 0):
            raise UsageError(f"Learning needs a positive number of {kind}, got {budget}.")
    recipe = completion_recipe(name) if isinstance(name, str) else name
    run = RunFolder(Path(folder))
    if not resume and run.path.is_dir() and any(run.path.iterdir()):
        raise UsageError(f"{run.path} is not empty; give a new folder, or go on with what is there by --resume.")
    if resume and not run.checkpoints.is_dir():
        raise DataError(f"{run.path} has no checkpoints to go on from; start without --resume.")
    make_folder(run.path)
    with run.locked():
        learner = _Learner.begun(recipe, solids, seed)
        if resume:
            learner.restore(run, recipe.field)
        else:
            # whatever stops it, there is something to go on from
            learner.keep(run)
        learner.recipe = replace(learner.recipe, steps=learner.recipe.steps if steps is None else int(steps))
        learner.seconds = learner.seconds if steps is None and seconds is None else seconds
        return learner.run(run, observe or (lambda said: None), should_stop or (lambda: False))


@dataclass
class _Learner:
    """All that learning must remember between two steps."""

    recipe: Recipe
    solids: Sequence[Solid]
    network: ConvolutionalOccupancy
    optimizer: Adam
    generator: torch.Generator
    step: int = 0
    elapsed: float = 0.0
    seconds: float | None = None

    @staticmethod
    def begun(recipe: Recipe, solids: Sequence[Solid], seed: int) -> _Learner:
        """Before the first step, leaving the caller's random numbers alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(recipe)
        parameters = dict(network.named_parameters())
        groups, rates = dict.fromkeys(parameters, "network"), {"network": GroupRate(recipe.network_rate)}
        optimizer = Adam(parameters, groups, rates, beta2=_BETA2, epsilon=_EPSILON)
        return _Learner(recipe, solids, network, optimizer, cpu_generator(seed))

    @property
    def names(self) -> list[str]:
        return [solid.name for solid in self.solids]

    @property
    def share(self) -> float:
        """Of the budget that is spent."""
        return self.step / self.recipe.steps if self.seconds is None else self.elapsed / self.seconds

    def run(self, run: RunFolder, observe: Callable[[str], None], should_stop: Callable[[], bool]) -> Learned:
        """Steps until the budget is spent, saving on the way."""
        losses: list[float] = []
        agreements: list[float] = []
        broken, stopped = 0, False
        while self.share < 1 and not stopped:
            began = time.perf_counter()
            loss, agreement = self.take_step()
            broken = 0 if math.isfinite(loss) else broken + 1
            if broken >= _MOST_BROKEN_STEPS:
                raise DivergedError(f"Learning lost all finite values at step {self.step}; start with another --seed.")
            losses.append(loss)
            agreements.append(agreement)
            self.elapsed += time.perf_counter() - began
            stopped = should_stop()
            if self.step % _SAVE_EVERY == 0 or self.share >= 1 or stopped:
                self.save(run)
                loss, agreement = _mean(losses), _mean(agreements)
                run.append_metrics({"step": self.step, "loss": loss, "iou": agreement, "elapsed": self.elapsed})
                observe(f"{min(self.share, 1):4.0%}  step {self.step}  loss {loss:.3g}  IoU {agreement:.3f}")
                if self.share < 1 and not stopped:
                    losses, agreements = [], []
        done = Completion(self.network, self.recipe, tuple(self.names), self.step)
        if not losses:
            # nothing was left to learn: the last sitting's figures stand
            last = (run.read_metrics() or [{}])[-1]
            losses, agreements = ([math.nan if last.get(name) is None else last[name]] for name in ("loss", "iou"))
        return Learned(done, _mean(losses), _mean(agreements), self.elapsed, stopped and self.share < 1)

    def take_step(self) -> tuple[float, float]:
        """One step; its loss, and how well the batch's solids were told from what is about them."""
        self.optimizer.zero_gradients()
        loss, agreement = 0.0, 0.0
        for _ in range(self.recipe.batch):
            example = draw_example(self.solids, _QUERIES, self.generator)
            logits = self.network.logits(self.network.encode(example.points), example.queries)
            cost = refined_cross_entropy(logits[:, None], example.inside) / self.recipe.batch
            cost.backward()
            loss += cost.item()
            agreement += intersection_over_union(logits.detach() > 0, example.inside) / self.recipe.batch
        self.step += 1
        if math.isfinite(loss) and self._gradients_finite():
            warm = min(1.0, self.step / _WARMUP_STEPS)
            last = self.recipe.final_rate
            self.optimizer.step(warm * (last + (1 - last) * (1 + math.cos(math.pi * min(self.share, 1))) / 2))
            return loss, agreement
        return math.nan, agreement

    def _gradients_finite(self) -> bool:
        return all(bool(torch.isfinite(p.grad).all()) for p in self.optimizer.parameters.values() if p.grad is not None)

    def save(self, run: RunFolder) -> None:
        """A checkpoint, and the weights in a file of their own."""
        self.keep(run)
        Completion(self.network, self.recipe, tuple(self.names), self.step).save(run.path / WEIGHTS_FILE)

    def keep(self, run: RunFolder) -> None:
        """A checkpoint."""
        tensors: dict[str, Tensor] = self.optimizer.state_tensors() | {_GENERATOR_KEY: self.generator.get_state()}
        facts = {"recipe": asdict(self.recipe), "shapes": self.names, "elapsed": self.elapsed, "seconds": self.seconds}
        model = {name: tensor.detach() for name, tensor in self.network.state_dict().items()}
        save_checkpoint(run.checkpoints, self.step, model, tensors, facts, method=self.recipe.field)

    def restore(self, run: RunFolder, name: str) -> None:
        """Takes over the newest checkpoint, to the same numbers.

        Raises:
            DataError: there is none, it is broken, or it learned from other shapes.
        """
        checkpoint = load_checkpoint(run.checkpoints, method=name)
        facts = checkpoint.state
        if facts["shapes"] != self.names:
            raise DataError(
                f"{run.path} learns from {', '.join(facts['shapes'])}, but was given {', '.join(self.names)}; give the "
                "same meshes, or another folder."
            )
        self.recipe = Recipe(**facts["recipe"])
        fresh = _Learner.begun(self.recipe, self.solids, seed=0)
        self.network, self.optimizer = fresh.network, fresh.optimizer
        self.network.load_state_dict(checkpoint.model)
        self.optimizer.load_tensors(checkpoint.optimizer)
        self.generator.set_state(checkpoint.optimizer[_GENERATOR_KEY])
        self.step, self.elapsed, self.seconds = checkpoint.step, float(facts["elapsed"]), facts["seconds"]
        run.truncate_metrics(self.step)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
