"""How many threads kernels and PyTorch use in this process."""

from __future__ import annotations

import importlib

import torch

from onefield.errors import UsageError


def use_threads(count: int) -> None:
    """From now on so many, or all that the process was started with where they are fewer.

    Raises:
        UsageError: a count below 1.
    """
    if count < 1:
        raise UsageError(f"Threads are counted from 1, got {count}.")
    torch.set_num_threads(count)
    importlib.import_module("onefield.kernels.cpu")  # settles where kernels are cached, before the compiler is imported
    compiler = importlib.import_module("numba")
    compiler.set_num_threads(min(count, compiler.config.NUMBA_NUM_THREADS))
