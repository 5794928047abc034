"""Seeds, and the random numbers that they start."""

from __future__ import annotations

from numbers import Integral

import torch

from onefield.errors import UsageError

# The last that both PyTorch and NumPy take.
LARGEST_SEED = 2**63 - 1


def checked_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        UsageError: no whole number, a negative or too large one.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"A seed is a whole number from 0 to {LARGEST_SEED}, got {seed!r}.")
    return int(seed)


def cpu_generator(seed: int) -> torch.Generator:
    """The source of all random numbers of a run.

    Raises:
        UsageError: as `checked_seed`.
    """
    return torch.Generator().manual_seed(checked_seed(seed))
