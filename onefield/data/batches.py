"""Random pixels of many pictures at once, as rays and target colours; repeatable from two numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError
from onefield.types import Rays

# Batches drawn from one window of pictures before the next is decoded, where the budget doesn't hold all of them.
_BATCHES_A_WINDOW = 256
# Odd multipliers that spread neighbouring seeds and steps over the generator's seeds (Steele et al. 2014, SplitMix).
_SPREAD_SEED, _SPREAD_STEP = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9
_SEED_MASK = (1 << 63) - 1
_DISTANCE_BYTES, _NORMAL_BYTES = 4, 12
# One ray in so many goes through a point: enough to clear its line of sight, few enough to leave the picture to learn.
_SIGHTED_PART = 8


@dataclass(frozen=True)
class RayBatch:
    """Some pixels of some pictures.

    Attributes:
        rays: through the pixels' centres, near and far filled in where the scene states them, camera indices always.
        colors: values in [0, 1], sRGB, with straight alpha as fourth channel where the scene has alpha.
        distances: measured distance along each ray in normalised units, NaN where nothing was measured; None where it
            was not asked for.
        cosines: of the angles between the rays and their cameras' optical axes, where distances were asked for.
        normals: known unit normals of what the pixels show, NaN where nothing is known; None where not asked for.
        counted: pixels to learn from, where some of a whole picture are masked; None where all are.
        corner: row and column of the first pixel in its photo, where the pixels are a picture or a window of one.
    """

    rays: Rays
    colors: Float[Tensor, "R c"]
    distances: Float[Tensor, "R"] | None = None
    cosines: Float[Tensor, "R"] | None = None
    normals: Float[Tensor, "R 3"] | None = None
    counted: Bool[Tensor, "R"] | None = None
    corner: tuple[int, int] | None = None


def checked_views(scene: Scene, indices: Sequence[int] | Tensor, distances: bool) -> list[int]:
    """The views to draw from.

    Raises:
        UsageError: there are none, or distances are asked of a scene that knows none.
    """
    if distances and scene.depths is None and scene.sightings is None:
        raise UsageError(f"{scene.path} has no depth to learn from; leave the losses of depth out.")
    views = [int(index) for index in indices]
    if not views:
        raise UsageError(f"There are no views to draw rays from in {scene.path}.")
    return views


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one batch."""
    return torch.Generator().manual_seed((seed * _SPREAD_SEED + step * _SPREAD_STEP) & _SEED_MASK)


def seed_and_step(state: dict[str, Tensor]) -> tuple[int, int]:
    """What a sequence of batches goes on from.

    Raises:
        DataError: the state isn't one of batches.
    """
    if not {"seed", "step"} <= set(state):
        raise DataError(f"The state of ray batches needs 'seed' and 'step', got {sorted(state)}.")
    return int(state["seed"]), int(state["step"])


@dataclass(frozen=True)
class _Window:
    """Pictures held flat in memory.

    Attributes:
        views: their places in the scene.
        widths: of each picture.
        starts: where each picture's pixels begin.
        colors: all pixels, uint8.
        allowed: flat positions that may be drawn; None for all.
        distances: of all pixels, float32; None where they are not asked for or not measured.
        normals: likewise, of three numbers.
        sighted, sighted_distances: flat positions at which the distance is known from points; None as above.
    """

    views: np.ndarray
    widths: np.ndarray
    starts: np.ndarray
    colors: np.ndarray
    allowed: np.ndarray | None
    distances: np.ndarray | None
    normals: np.ndarray | None
    sighted: np.ndarray | None
    sighted_distances: np.ndarray | None


class RayBatches:
    """Draws pixels uniformly over all pictures of some views, without the masked ones.

    Each batch depends only on the seed and its number, so that a run resumes to the same numbers. Where the decoded
    pictures exceed the scene's byte budget, batches come from windows of as many pictures as fit, in an order that is
    shuffled anew each time all were seen.

    Args:
        scene: normalised scene.
        indices: views to draw from.
        seed: repeats the sequence of batches.
        distances: bring measured distances along, too, from depth maps and from points that the views saw; of the
            latter a share of each batch is drawn.
        normals: bring known normals along, too.

    Raises:
        UsageError: no views, or distances or normals asked of a scene that knows none.
    """

    def __init__(
        self,
        scene: Scene,
        indices: Sequence[int] | Tensor,
        *,
        seed: int = 0,
        distances: bool = False,
        normals: bool = False,
    ) -> None:
        if normals and scene.normals is None:
            raise UsageError(f"{scene.path} has no normal maps to learn from; leave the losses of normals out.")
        self._scene = scene
        self._with_distances = distances
        self._with_normals = normals
        self._indices = checked_views(scene, indices, distances)
        self._seed = seed
        self._step = 0
        self._window: _Window | None = None
        self._window_number = -1
        self._windows_a_pass = self._count_windows()

    def next(self, count: int) -> RayBatch:
        """The next batch of ``count`` pixels.

        Raises:
            DataError: an image or mask is missing or damaged, or the masks leave no pixel.
        """
        window = self._current_window()
        generator = step_generator(self._seed, self._step)
        choices = len(window.colors) if window.allowed is None else len(window.allowed)
        # NumPy from here: these gathers are too small to pay for waking torch's threads.
        flat = torch.randint(0, choices, (count,), generator=generator).numpy()
        if window.allowed is not None:
            flat = window.allowed[flat]
        distances = None if window.distances is None else window.distances[flat]
        if window.sighted is not None:
            flat, distances = _with_sightings(window, flat, distances, generator)
        self._step += 1
        place = np.searchsorted(window.starts, flat, side="right") - 1
        row, column = np.divmod(flat - window.starts[place], window.widths[place])
        pixels = torch.from_numpy(np.stack([column, row], axis=-1) + 0.5)
        rays = self._scene.cameras.rays(torch.from_numpy(window.views[place]), pixels)
        return RayBatch(
            self._scene.limited(rays),
            torch.from_numpy(window.colors[flat].astype(np.float32) / 255),
            None if distances is None else torch.from_numpy(distances),
            self._scene.cameras.axis_cosines(rays) if self._with_distances else None,
            None if window.normals is None else torch.from_numpy(window.normals[flat]),
        )

    def state(self) -> dict[str, Tensor]:
        """What `load_state` needs to go on with the next batch."""
        return {"seed": torch.tensor(self._seed), "step": torch.tensor(self._step)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on where another sequence of the same scene and views stood.

        Raises:
            DataError: the state isn't one of ray batches.
        """
        self._seed, self._step = seed_and_step(state)
        self._window_number = -1

    def _count_windows(self) -> int:
        images = self._scene.images
        needed = sum(images.byte_size(index) for index in self._indices)
        if self._with_distances and self._scene.depths is not None:
            needed += sum(images.byte_size(index) // images.channels * _DISTANCE_BYTES for index in self._indices)
        if self._with_normals:
            needed += sum(images.byte_size(index) // images.channels * _NORMAL_BYTES for index in self._indices)
        return min(-(-needed // max(self._scene.images.byte_budget, 1)), len(self._indices))

    def _current_window(self) -> _Window:
        number = 0 if self._windows_a_pass == 1 else self._step // _BATCHES_A_WINDOW
        if number != self._window_number or self._window is None:
            # The old window goes before the new one is decoded.
            self._window = None
            self._window = self._load_window(number)
            self._window_number = number
        return self._window

    def _load_window(self, number: int) -> _Window:
        chosen = self._indices
        if self._windows_a_pass > 1:
            passes, place = divmod(number, self._windows_a_pass)
            # Negative steps are never drawn, so the order of a pass shares no numbers with a batch.
            order = torch.randperm(len(chosen), generator=step_generator(self._seed, -1 - passes)).tolist()
            chosen = [chosen[index] for index in order[place :: self._windows_a_pass]]
        images, cameras = self._scene.images, self._scene.cameras
        views = np.array(chosen, dtype=np.int64)
        widths, heights = cameras.width.cpu().numpy()[views], cameras.height.cpu().numpy()[views]
        starts = np.cumsum(widths * heights) - widths * heights
        allowed = None
        if self._scene.masks is not None:
            # 32 bits count to more pixels than fit into any budget of windows.
            allowed = np.flatnonzero(self._scene.masks.gather_flat(chosen).numpy()).astype(np.uint32)
            if len(allowed) == 0:
                raise DataError(
                    f"The masks of {self._scene.path} leave no pixel to learn from; white must mark what counts "
                    "(load with masks='none' to disregard them)."
                )
        measured = self._with_distances and self._scene.depths is not None
        distances = self._scene.depths.gather_flat(chosen).numpy() if measured else None
        normals = self._scene.normals.gather_flat(chosen).numpy() if self._with_normals else None
        sighted, sighted_distances = self._sighted(views, widths, starts, allowed)
        colors = images.gather_flat(chosen).numpy()
        return _Window(views, widths, starts, colors, allowed, distances, normals, sighted, sighted_distances)

    def _sighted(
        self, views: np.ndarray, widths: np.ndarray, starts: np.ndarray, allowed: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Flat positions of pixels that saw a point, and its distance."""
        sightings = self._scene.sightings
        if not self._with_distances or sightings is None:
            return None, None
        place_of = np.full(int(sightings.views.max()) + 1, -1)
        here = views[views < len(place_of)]
        place_of[here] = np.flatnonzero(views < len(place_of))
        place = place_of[sightings.views.numpy()]
        flat = starts[place] + sightings.rows.numpy() * widths[place] + sightings.columns.numpy()
        drawn = place >= 0
        if allowed is not None:
            drawn &= np.isin(flat, allowed)
        return (flat[drawn], sightings.distances.numpy()[drawn]) if drawn.any() else (None, None)


def _with_sightings(
    window: _Window, flat: np.ndarray, distances: np.ndarray | None, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The batch with its first pixels exchanged for some that saw a point."""
    count = len(flat) // _SIGHTED_PART
    chosen = torch.randint(0, len(window.sighted), (count,), generator=generator).numpy()
    distances = np.full(len(flat), np.nan, dtype=np.float32) if distances is None else distances
    distances[:count] = window.sighted_distances[chosen]
    return np.concatenate([window.sighted[chosen], flat[count:]]), distances
