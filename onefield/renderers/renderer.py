"""What every renderer promises, so that training, evaluation and viewers need not know which one they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import nn

from onefield.cameras import Cameras
from onefield.fields.field import Field
from onefield.renderers.background import Background
from onefield.types import Rays, RenderedImage, Rendering


class Renderer(nn.Module, ABC):
    """Turns a field and rays into colours.

    Attributes:
        background: what lies behind.
        takes_pictures: it draws all pixels of a view at once and must be given a `onefield.cameras.Picture` as rays.
        gives_quantiles: its `render_image` takes ``quantiles`` and says how deep the light reaches.
        only_surfaces: what it draws has no inside, so that depth alone says where surfaces are.
    """

    background: Background
    takes_pictures: bool = False
    gives_quantiles: bool = False
    only_surfaces: bool = False

    @abstractmethod
    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it lacks something, named in a sentence.
        """

    def prepare(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Brings what the renderer remembers of a field up to date, before a step of training."""
        del field, step, generator

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Learned parameters by the rate at which they should learn, as `Field.parameter_groups`."""
        return self.background.parameter_groups()

    @abstractmethod
    def render(
        self,
        field: Field,
        rays: Rays,
        generator: torch.Generator | None = None,
        *,
        background: Float[torch.Tensor, "R 3"] | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Renders rays, differentiably.

        Args:
            generator: source of all randomness in training; None renders the same each time.
            background: colours behind the rays; None asks the renderer's own background.
            normals: fill `Rendering.normal`.
        """

    @abstractmethod
    def render_image(
        self,
        field: Field,
        cameras: Cameras,
        index: int,
        *,
        background: Float[torch.Tensor, "3"] | None = None,
        normals: bool = False,
        limits: Callable[[Rays], Rays] | None = None,
    ) -> RenderedImage:
        """Renders one view in full, without gradients.

        Args:
            cameras, index: the view.
            background: one colour behind all; None asks the renderer's own background.
            normals: whether to fill `RenderedImage.normal`.
            limits: fills in near and far of the rays, where the scene states them.
        """
