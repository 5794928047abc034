"""A network whose numbers are random projections of one short vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class ProjectedNetwork(Network):
    """Learns a latent vector z; the weights of the network behind it are ``P z`` with fixed random P.

    A random decoder-only hypernetwork (Gordon et al., "D'OH: decoder-only random hypernetworks for implicit neural
    representations", ACCV 2024, section 3). P of each weight is drawn from an integer seed, on the processor, and never
    stored: z and the seed are the whole signal. Entries of P are normal with the variance that gives ``P z`` the first
    variance of the weight where z is standard normal, as it begins.

    Attributes:
        latent: z, float32.
    """

    def __init__(self, make: Callable[[], Network], latent: int, seed: int = 0) -> None:
        """Wraps a network.

        Args:
            make: the network whose numbers are to be generated, with the first numbers of its own recipe.
            latent: length of z.
            seed: of the projections.

        Raises:
            UsageError: a latent vector without numbers.
        """
        super().__init__()
        if latent < 1:
            raise UsageError(f"ProjectedNetwork needs a latent vector of at least 1 number, got {latent}.")
        # on the processor even where others are sized without values: deviations are taken from what is drawn
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(seed)
            behind = make()
        self.input_dimension = behind.input_dimension
        self.output_dimension = behind.output_dimension
        # on no device, numbers are counted alone: projections, which are many, need not be drawn
        sized = torch.get_default_device().type == "meta"
        generator = torch.Generator().manual_seed(seed)
        self._names = tuple(name for name, _ in behind.named_parameters())
        for index, parameter in enumerate(behind.parameters()):
            spread = float(parameter.detach().double().square().mean().sqrt())
            if sized:
                projection = torch.empty(parameter.numel(), latent)
            else:
                drawn = torch.randn(parameter.numel(), latent, generator=generator, device=generator.device)
                projection = drawn.mul_(spread * latent**-0.5)
            self.register_buffer(f"projection_{index}", projection, persistent=False)
        self._shapes = tuple(tuple(parameter.shape) for parameter in behind.parameters())
        # out of the reach of `parameters`: its own numbers are never used
        self._behind = (behind.requires_grad_(False),)
        self.latent = nn.Parameter(torch.randn(latent, generator=generator, device=generator.device))

    def generated(self) -> dict[str, Tensor]:
        """The numbers of the network behind, by name."""
        return {
            name: (getattr(self, f"projection_{index}") @ self.latent).reshape(shape)
            for index, (name, shape) in enumerate(zip(self._names, self._shapes, strict=True))
        }

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        return functional_call(self._behind[0], self.generated(), (features,))
