"""Starting, resuming and opening runs: a scene, a method and a folder put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from onefield.configs.memory import require_opening_memory, require_training_memory
from onefield.configs.method import MethodConfig
from onefield.configs.presets import AUTO, preset, suited
from onefield.configs.reading import changed, from_plain, to_plain
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError
from onefield.files import make_folder
from onefield.kernels.system import describe_system
from onefield.training.checkpoints import has_checkpoint, load_checkpoint, newest_state
from onefield.training.evaluation import Evaluation, evaluate, views_of
from onefield.training.loop import Outcome, Progress, run_training
from onefield.training.lpips import LpipsWeights
from onefield.training.method import Method
from onefield.training.run_folder import RunFolder
from onefield.training.settings import TrainingSettings
from onefield.training.state import load_model

SCHEMA = 1
_logger = logging.getLogger("onefield.data")
DEFAULT_ROOT = Path("runs")


@dataclass(frozen=True)
class RunConfig:
    """All that it takes to repeat a run; ``config.yaml`` in its folder.

    Attributes:
        scene: absolute path of the dataset.
        downscale: factor by which images were made smaller, at least 1.
        masks, depth_unit, depth_kind: what masks and depth maps mean, see `onefield.data.assembly.LoadOptions`.
    """

    scene: str
    method: MethodConfig
    downscale: int = 1
    schema: int = SCHEMA
    masks: str = "auto"
    depth_unit: float | None = None
    depth_kind: str = "auto"

    def load_scene(self) -> Scene:
        """The dataset; its warnings are logged."""
        scene = load_scene(
            Path(self.scene),
            downscale=self.downscale,
            masks=self.masks,
            depth_unit=self.depth_unit,
            depth_kind=self.depth_kind,
        )
        for message in scene.warnings:
            _logger.warning("%s", message)
        return scene


@dataclass(frozen=True)
class Run:
    """A run on disk with its method in memory.

    Attributes:
        step: of the checkpoint that the method's parameters come from.
    """

    config: RunConfig
    scene: Scene
    method: Method
    folder: RunFolder
    step: int

    def lasting(self, steps: int) -> Run:
        """The same with a budget of so many steps, which its folder tells from when it is trained on.

        Raises:
            UsageError: more are done already.
        """
        done, _ = newest_state(self.folder.checkpoints) or (0, {})
        if done > steps:
            raise UsageError(f"{self.folder.path} has done {done} steps already, got a budget of {steps}; give more.")
        training = self.config.method.training.lasting(steps)
        config = replace(self.config, method=replace(self.config.method, training=training))
        return replace(self, config=config, method=self.method.lasting(steps))


def configure(
    scene: str | Path,
    method: str = AUTO,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    downscale: int = 1,
    seed: int | None = None,
    changes: list[str] | None = None,
) -> RunConfig:
    """A preset with the usual changes.

    Args:
        scene: folder or file of a dataset.
        method: name of a preset; ``"auto"`` looks at the scene.
        steps, seconds: budget; None keeps the preset's.
        changes: further ``dotted.key=value`` texts.

    Raises:
        UsageError: an unknown preset, key or value.
        DataError: the preset follows the scene, which can't be read.
    """
    if not isinstance(scene, str | os.PathLike):
        raise UsageError(f"A scene to train is the path of its dataset, got a {type(scene).__name__}; give its path.")
    config = suited(load_scene(Path(scene))) if method == AUTO else preset(method)
    if changes:
        named = config.method
        config = changed(config, changes)
        if config.method != named:
            raise UsageError(f"'method' is the preset that a run begins with; choose one by --method {config.method}.")
    wanted = {"steps": steps, "seconds": seconds, "seed": seed}
    given = {name: value for name, value in wanted.items() if value is not None}
    if steps is not None and seconds is None:
        given["seconds"] = None
    training = from_plain(TrainingSettings, to_plain(config.training) | given, "training")
    return RunConfig(str(Path(scene).resolve()), replace(config, training=training), downscale)


def start_run(config: RunConfig, output: Path | None = None) -> Run:
    """Loads the scene, builds the method and makes the run's folder (``runs/<scene>/<method>-<time>``).

    Args:
        output: the run's own folder instead; must be new or empty.
    """
    scene = config.load_scene()
    require_training_memory(config.method, scene, config.downscale)
    method = config.method.build(scene)
    folder = RunFolder.create(output or RunFolder.new_path(DEFAULT_ROOT, scene.name, config.method.method))
    _write_config(folder, config)
    folder.write_scene(scene_facts(scene))
    return Run(config, scene, method, folder, 0)


def _write_config(folder: RunFolder, config: RunConfig) -> None:
    folder.write_config(yaml.safe_dump(to_plain(config), sort_keys=False))


def scene_facts(scene: Scene) -> dict:
    """What ``scene.json`` keeps: the way back to the dataset's frame, and which views were held out."""
    return {
        "name": scene.name,
        "format": scene.format,
        "transform": scene.transform.to_record(),
        "train": [scene.image_names[int(index)] for index in scene.train_indices],
        "held_out": [scene.image_names[int(index)] for index in scene.test_indices],
        "held_out_rule": scene.split_rule,
        "up_estimated": scene.up_estimated,
        "warnings": list(scene.warnings),
    }


def read_config(folder: RunFolder) -> RunConfig:
    """The configuration of a run.

    Raises:
        DataError: the file can't be read, or was written by another version.
    """
    try:
        plain = yaml.safe_load(folder.read_config())
    except yaml.YAMLError as error:
        raise DataError(f"{folder.config} is no valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        found = plain.get("schema") if isinstance(plain, dict) else None
        raise DataError(f"{folder.config} has schema {found}, but this version reads schema {SCHEMA}.")
    try:
        return from_plain(RunConfig, plain)
    except UsageError as error:
        raise DataError(f"{folder.config}: {error}") from error


def _require_same_views(folder: RunFolder, scene: Scene) -> None:
    """Refuses views that are split otherwise than when the run was begun: those held out now may be known to it."""
    told = folder.read_scene() if folder.scene.is_file() else {}
    now = scene_facts(scene)
    for split in ("train", "held_out"):
        others = set(told.get(split, now[split])) ^ set(now[split])
        if others:
            raise DataError(
                f"{scene.path} has other views, or holds out others, than when {folder.path} was begun ({len(others)} "
                f"differ, such as {min(others)}); restore them, or train anew."
            )


def open_run(path: str | Path, trained: bool = True) -> Run:
    """Opens a run's folder, or the newest run below a folder.

    Args:
        trained: fill the method with the newest good checkpoint.

    Raises:
        DataError: no run there, a broken one, or its dataset is gone or has other views now.
    """
    folder = RunFolder.find(Path(path))
    config = read_config(folder)
    if not Path(config.scene).exists():
        raise DataError(
            f"{config.scene}, which {folder.path} was begun with, does not exist; put it back, or name its new place "
            f"as 'scene' in {folder.config}."
        )
    scene = config.load_scene()
    _require_same_views(folder, scene)
    if trained:
        require_opening_memory(config.method, scene)
    else:
        require_training_memory(config.method, scene, config.downscale)
    method = config.method.build(scene, starting=not trained and not has_checkpoint(folder.checkpoints))
    step = 0
    if trained:
        checkpoint = load_checkpoint(folder.checkpoints, method=method.name)
        for strategy in method.strategies:
            strategy.match(method.field, checkpoint.model)
        load_model(method, checkpoint.model)
        step = checkpoint.step
    return Run(config, scene, method, folder, step)


def run(
    opened: Run,
    *,
    resume: bool = False,
    observe: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains an opened run; two processes never train in one folder at once."""
    with opened.folder.locked(), opened.folder.logging():
        opened.folder.write_machine(describe_system().as_json())
        if read_config(opened.folder) != opened.config:
            _write_config(opened.folder, opened.config)
        return run_training(
            opened.method,
            opened.scene,
            opened.folder,
            resume=resume,
            observe=observe,
            should_stop=should_stop,
        )


def score(
    opened: Run,
    split: str = "held-out",
    observe: Callable[[int, int], None] = lambda d, t: None,
    perception: LpipsWeights | None = None,
) -> Evaluation:
    """Evaluates a run's views and writes pictures and table to ``eval/``; LPIPS only with weights for it.

    Args:
        split: ``"held-out"`` or ``"training"``.

    Raises:
        UsageError: another split.
    """
    views_of(opened.scene, split)
    pictures = make_folder(opened.folder.evaluation if split == "held-out" else opened.folder.evaluation / split)
    result = evaluate(opened.method, opened.scene, split, pictures, observe, perception)
    opened.folder.write_evaluation({"step": opened.step, **result.as_json()}, split)
    return result


def train(
    scene: str | Path,
    method: str = AUTO,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    downscale: int = 1,
    output: str | Path | None = None,
    changes: list[str] | None = None,
) -> Run:
    """Trains a scene from Python: the same as ``onefield train``.

    Args:
        scene: folder or file of a dataset.
        method: preset, such as ``"ngp"``; ``"auto"`` takes what suits the scene.
        steps, seconds: budget; None keeps the preset's.
        output: the run's folder; None makes ``runs/<scene>/<method>-<time>``.

    Returns:
        The trained run.
    """
    config = configure(scene, method, steps=steps, seconds=seconds, downscale=downscale, changes=changes)
    opened = start_run(config, None if output is None else Path(output))
    outcome = run(opened)
    return replace(opened, step=outcome.step)
