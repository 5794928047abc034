"""Whole pictures, or windows of them, one at a time, as rays and target colours; repeatable from two numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from onefield.data.batches import RayBatch, checked_views, seed_and_step, step_generator
from onefield.data.scene import Scene


class PictureBatches:
    """An endless sequence of pictures, in an order that is shuffled anew each time all were seen.

    Like `onefield.data.batches.RayBatches`, a batch depends on the seed and its number alone.

    Args:
        scene: normalised scene.
        indices: views to draw from.
        seed: repeats the sequence of batches.
        distances: bring measured distances along, too.

    Raises:
        UsageError: no views, or distances asked of a scene without depth maps.
    """

    def __init__(
        self, scene: Scene, indices: Sequence[int] | Tensor, *, seed: int = 0, distances: bool = False
    ) -> None:
        self._scene = scene
        self._indices = checked_views(scene, indices, distances)
        self._with_distances = distances
        self._seed = seed
        self._step = 0
        if sum(scene.images.byte_size(index) for index in self._indices) <= scene.images.byte_budget:
            # decoded by several threads, and kept
            scene.images.gather_flat(self._indices)

    def next(self, count: int) -> RayBatch:
        """The next picture; where it has more than ``count`` pixels a window of its shape at a random place.

        Raises:
            DataError: an image or mask is missing or damaged.
        """
        passes, place = divmod(self._step, len(self._indices))
        # negative steps are never drawn, so the order of a pass shares no numbers with a window
        order = torch.randperm(len(self._indices), generator=step_generator(self._seed, -1 - passes))
        view = self._indices[int(order[place])]
        generator = step_generator(self._seed, self._step)
        self._step += 1
        camera = self._scene.cameras[view]
        height, width = int(camera.height), int(camera.width)
        share = min(1.0, math.sqrt(count / (height * width)))
        rows, columns = max(1, int(height * share)), max(1, int(width * share))
        top = int(torch.randint(height - rows + 1, (), generator=generator))
        left = int(torch.randint(width - columns + 1, (), generator=generator))
        window = (slice(top, top + rows), slice(left, left + columns))
        rays = camera.cropped(left, top, columns, rows).image_rays(0)
        rays = replace(rays, camera_indices=torch.full((rows * columns,), view, dtype=torch.int64))
        return RayBatch(
            self._scene.limited(rays),
            torch.from_numpy(self._pixels(view, height, width)[window].reshape(rows * columns, -1) / np.float32(255)),
            self._measured(view, height, width)[window].reshape(-1) if self._with_distances else None,
            self._scene.cameras.axis_cosines(rays) if self._with_distances else None,
            counted=None if self._scene.masks is None else self._scene.masks.mask(view)[window].reshape(-1),
            corner=(top, left),
        )

    def shuffled(self, seed: int) -> PictureBatches:
        """Another sequence of the same pictures."""
        return PictureBatches(self._scene, self._indices, seed=seed, distances=self._with_distances)

    def state(self) -> dict[str, Tensor]:
        """What `load_state` needs to go on with the next batch."""
        return {"seed": torch.tensor(self._seed), "step": torch.tensor(self._step)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on where another sequence of the same scene and views stood.

        Raises:
            DataError: the state isn't one of batches.
        """
        self._seed, self._step = seed_and_step(state)

    def _pixels(self, view: int, height: int, width: int) -> np.ndarray:
        images = self._scene.images
        if sum(images.byte_size(index) for index in self._indices) > images.byte_budget:
            return images.pixels(view)
        sizes = [images.byte_size(index) // images.channels for index in self._indices]
        place = self._indices.index(view)
        first = sum(sizes[:place])
        flat = images.gather_flat(self._indices).numpy()
        return flat[first : first + sizes[place]].reshape(height, width, images.channels)

    def _measured(self, view: int, height: int, width: int) -> Tensor:
        """Distances from depth maps and, where there are none, from points that the view saw; else NaN."""
        if self._scene.depths is not None:
            measured = self._scene.depths.gather_flat([view]).reshape(height, width)
        else:
            measured = torch.full((height, width), math.nan)
        sightings = self._scene.sightings
        if sightings is not None:
            here = sightings.views == view
            places = (sightings.rows[here].long(), sightings.columns[here].long())
            measured = measured.index_put(places, sightings.distances[here].to(measured))
        return measured
