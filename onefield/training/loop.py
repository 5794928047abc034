"""The training loop: ask for rays, render, compare, step; watch for trouble; save."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.scene import Scene
from onefield.errors import DivergedError, ResourceError
from onefield.losses.term import Evidence
from onefield.renderers.background import composite_alpha
from onefield.training.checkpoints import has_checkpoint, load_checkpoint
from onefield.training.distractors import WARM_UP
from onefield.training.evaluation import QuickCheck
from onefield.training.gaussian_editing import averaged_gaussians
from onefield.training.method import Method
from onefield.training.run_folder import RunFolder
from onefield.training.state import TrainingState
from onefield.types import Rays

# A batch now and then overflows by itself; a run that is lost overflows at every step.
BAD_STEPS_BEFORE_ROLLBACK = 5
ROLLBACKS_BEFORE_STOP = 3
# The number of rays follows the mean over this many steps, so that one odd batch does not swing it.
RAY_ADAPTATION_STEPS = 16
# A look at density alone takes about a fifth of the time of a sample that colour and gradients are computed for.
LOOK_COST = 0.2

_logger = logging.getLogger("onefield.training")


@dataclass(frozen=True)
class Progress:
    """What an observer of a run learns after a step.

    Attributes:
        loss: value of the objective.
        terms: its weighted summands by name.
        psnr: latest held-out PSNR on a few rays in dB, None before the first check.
        samples_per_ray, rays_per_second: means over the last steps.
        elapsed, remaining: seconds of training.
    """

    step: int
    share: float
    loss: float
    terms: dict[str, float]
    psnr: float | None
    samples_per_ray: float
    rays_per_second: float
    elapsed: float
    remaining: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at which step, after how many seconds, and whether a signal ended it early."""

    step: int
    elapsed: float
    interrupted: bool


@dataclass(frozen=True)
class StepResult:
    """Numbers of one step; ``trouble`` names the tensor that was not finite and kept the step from being taken."""

    loss: float
    terms: dict[str, float]
    rays: int
    samples: int
    trouble: str | None


def run_training(
    method: Method,
    scene: Scene,
    folder: RunFolder,
    *,
    resume: bool = False,
    observe: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains ``method`` on the scene's training views until its budget is spent.

    Args:
        folder: where checkpoints and metrics go.
        resume: go on from the newest good checkpoint, to the same numbers as an unbroken run; one that was stopped
            before it saved any starts at its first step.
        observe: told after each step; the time that it takes is no training time.
        should_stop: asked after each step; True saves and ends the run.

    Raises:
        DivergedError: values stay non-finite after going back several times.
        ResourceError: the first checkpoint can't be written.
    """
    batches = method.batches(scene, scene.train_indices, method.settings.seed)
    state = TrainingState.begin(method, batches)
    if resume and has_checkpoint(folder.checkpoints):
        state.restore(load_checkpoint(folder.checkpoints, method=method.name))
        folder.truncate_metrics(state.step)
    else:
        state.save(folder.checkpoints)
    return _Loop(state, QuickCheck(scene, method), folder, observe, should_stop).run()


@dataclass
class _Loop:
    state: TrainingState
    check: QuickCheck
    folder: RunFolder
    observe: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    psnr: float | None = None
    bad_steps: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RAY_ADAPTATION_STEPS))
    last_save: float = 0.0

    def run(self) -> Outcome:
        settings = self.state.method.settings
        started = time.monotonic() - self.state.elapsed
        self.last_save = self.state.elapsed
        compiles, interrupted = self.state.step == 0, False
        while self.state.progress < 1.0 and not interrupted:
            result = take_step(self.state)
            if compiles:
                # the first step of a machine compiles kernels, which is no part of training
                started, compiles = time.monotonic(), False
            self.state.elapsed = time.monotonic() - started
            if result.trouble is not None:
                self._recover(result.trouble)
            else:
                self.bad_steps = 0
                if settings.validate_every and self.state.step % settings.validate_every == 0:
                    self.psnr = self.check.psnr(self.state.method)
                    self._record(result)
            watched = time.monotonic()
            self._report(result)
            interrupted = self.should_stop()
            # who watches, or pauses, takes nothing from the time that the run may train
            started += time.monotonic() - watched
            ends = interrupted or self.state.progress >= 1.0
            if not ends and self.state.elapsed - self.last_save > settings.save_seconds:
                self._save()
        self.state.save(self.folder.checkpoints)
        return Outcome(self.state.step, self.state.elapsed, interrupted)

    def _save(self) -> None:
        _tried(lambda: self.state.save(self.folder.checkpoints), "the previous checkpoint is whole")
        self.last_save = self.state.elapsed

    def _recover(self, trouble: str) -> None:
        self.bad_steps += 1
        _logger.warning("Step %d was skipped: %s is not finite.", self.state.step, trouble)
        if self.bad_steps < BAD_STEPS_BEFORE_ROLLBACK:
            return
        rollbacks, scale = self.state.rollbacks + 1, self.state.rate_scale / 2
        if rollbacks > ROLLBACKS_BEFORE_STOP:
            raise DivergedError(
                f"Training diverged at step {self.state.step}: {trouble} stays non-finite after going back "
                f"{ROLLBACKS_BEFORE_STOP} times; lower training.encoding_rate and training.network_rate, or look at "
                f"the data with 'onefield inspect'."
            )
        elapsed = self.state.elapsed
        self.state.restore(load_checkpoint(self.folder.checkpoints, method=self.state.method.name))
        self.state.elapsed, self.state.rollbacks, self.state.rate_scale = elapsed, rollbacks, scale
        self.bad_steps = 0
        _tried(lambda: self.folder.truncate_metrics(self.state.step), "what was measured behind that step stays")
        _logger.warning("Went back to step %d with learning rates times %g.", self.state.step, scale)

    def _record(self, result: StepResult) -> None:
        record = {
            "step": self.state.step,
            "seconds": self.state.elapsed,
            "loss": result.loss,
            "terms": result.terms,
            "held_out_psnr": self.psnr,
            "rays": result.rays,
            "samples": result.samples,
        }
        _tried(lambda: self.folder.append_metrics(record), "what was measured now is not recorded")

    def _report(self, result: StepResult) -> None:
        state, share = self.state, self.state.progress
        self.recent.append((state.elapsed, result.rays))
        since = state.elapsed - self.recent[0][0]
        rays = sum(count for _, count in list(self.recent)[1:])
        self.observe(
            Progress(
                step=state.step,
                share=share,
                loss=result.loss,
                terms=result.terms,
                psnr=self.psnr,
                samples_per_ray=result.samples / max(result.rays, 1),
                rays_per_second=rays / since if since > 0 else 0.0,
                elapsed=state.elapsed,
                # nothing is known after the first step, which is where the clock starts
                remaining=state.elapsed * (1 - share) / share if share * state.elapsed > 0 else math.inf,
            )
        )


def _tried(write: Callable[[], object], otherwise: str) -> None:
    """Writes what training can go on without, or warns."""
    try:
        write()
    except ResourceError as error:
        _logger.warning("%s Training goes on; %s.", error, otherwise)


def take_step(state: TrainingState) -> StepResult:
    """One step: rays, rendering, objective, gradients, update; of the companion, too, where there is one."""
    if state.companion is None:
        return _learn(state, None)
    state.companion.follow(state)
    own, other = _learn(state, state.companion), _learn(state.companion, state)
    return StepResult(
        own.loss,
        own.terms | {f"companion_{name}": value for name, value in other.terms.items()},
        own.rays + other.rays,
        own.samples + other.samples,
        own.trouble or other.trouble,
    )


def _learn(state: TrainingState, other: TrainingState | None) -> StepResult:
    method, settings = state.method, state.method.settings
    for strategy in method.strategies:
        strategy.before_step(method.field, state.optimizer, state.progress)
    method.renderer.prepare(method.field, state.step, state.generator)
    batch = state.batches.next(state.rays_per_step)
    colors, rays = batch.colors, batch.rays if method.poses is None else method.poses(batch.rays)
    background = method.renderer.background(rays, state.generator)
    rendering = method.renderer.render(method.field, rays, state.generator, background=background)

    def as_photographed(shown: Tensor, opacity: Tensor) -> Tensor:
        if method.appearance is None:
            return shown
        return method.appearance.of_images(shown, opacity, background, rays.camera_indices)

    prediction = as_photographed(rendering.color, rendering.opacity)
    target = composite_alpha(colors, background)
    judgement = None
    if method.distractors is not None:
        judgement = method.distractors.judge(prediction, target, batch, state.step)
        prediction = judgement.prediction
    if batch.counted is not None:
        prediction = torch.where(batch.counted[:, None], prediction, target)
    evidence = Evidence(
        prediction=prediction,
        target=target,
        field=method.field,
        rendering=rendering,
        rays=rays,
        target_opacity=colors[:, 3] if colors.shape[1] == 4 else None,
        target_depth=batch.distances,
        target_normal=batch.normals,
        cosines=batch.cosines,
        progress=state.progress,
        as_photographed=as_photographed,
    )
    terms = {term.name: term.weight * term.evaluate(evidence) for term in method.objective}
    agrees = judgement is not None and state.progress >= WARM_UP
    if agrees:
        terms["agreement"] = method.distractors.agreement(rendering.color, _shown_by(state, other, rays, background))
    loss = torch.stack(list(terms.values())).sum()
    state.optimizer.zero_gradients()
    if loss.requires_grad:
        loss.backward()
    trouble = non_finite(loss, state.optimizer.parameters)
    if trouble is None:
        state.optimizer.step(settings.rate_factor(state.progress), state.progress, state.rate_scale)
        for strategy in method.strategies:
            strategy.after_step(method.field, state.optimizer, rendering, state.progress, state.generator)
        if agrees:
            method.distractors.learn(judgement, state.step)
    state.step += 1
    # a renderer that keeps no samples has asked, and learned from, all that it looked at
    samples = rendering.looks if rendering.samples is None else len(rendering.samples)
    _adapt_rays(state, len(rays), samples + LOOK_COST * (rendering.looks - samples))
    values = {name: value.item() for name, value in terms.items()}
    return StepResult(loss.item(), values, len(rays), samples, trouble)


@torch.no_grad()
def _shown_by(
    state: TrainingState, other: TrainingState | None, rays: Rays, background: Float[Tensor, "R 3"]
) -> Float[Tensor, "R 3"]:
    """The same pixels as the companion has them or, without one, the running average of the field."""
    field = averaged_gaussians(state.method.field, state.optimizer) if other is None else other.method.field
    return state.method.renderer.render(field, rays, None, background=background).color


def non_finite(loss: Tensor, parameters: dict[str, torch.nn.Parameter]) -> str | None:
    """Names what is NaN or infinite: the loss, or a gradient; None where all is well."""
    if not torch.isfinite(loss):
        return "the loss"
    for name, parameter in parameters.items():
        # a sum is finite exactly if all summands are, short of an overflow that is as bad
        if parameter.grad is not None and not torch.isfinite(parameter.grad.sum()):
            return f"the gradient of '{name}'"
    return None


def _adapt_rays(state: TrainingState, rays: int, work: float) -> None:
    settings = state.method.settings
    state.recent_samples.append(work / max(rays, 1))
    if len(state.recent_samples) < RAY_ADAPTATION_STEPS:
        return
    mean = max(sum(state.recent_samples) / len(state.recent_samples), 1.0)
    state.recent_samples.clear()
    state.rays_per_step = int(min(settings.most_rays, max(64, settings.samples_per_step / mean)))
