"""The only place that chooses between implementations of an operation.

An operation is one `torch.library` operator: a schema, a PyTorch reference, a Numba implementation for CPU tensors and
a Triton one for CUDA tensors. PyTorch's dispatcher picks by the tensors' device. `use("reference")` makes every
operation run its reference, differentiated by autograd itself, which is an independent check of the kernels' own
backward.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onefield.errors import UsageError, nearest_name

_MODES = ("fast", "reference")
_mode: ContextVar[str] = ContextVar("onefield_kernels_mode", default="fast")
_logger = logging.getLogger("onefield.kernels")


@contextmanager
def use(mode: str) -> Iterator[None]:
    """Within the context every operation runs as ``"fast"`` kernels or as its PyTorch ``"reference"``.

    Raises:
        UsageError: ``mode`` is neither.
    """
    if mode not in _MODES:
        raise UsageError(f"Unknown kernel mode '{mode}': {nearest_name(mode, _MODES)}.")
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


@dataclass
class Operation:
    """One numerical operation with a reference and its kernels.

    Attributes:
        name: operator name inside the ``onefield`` namespace.
        schema: torch schema, such as ``"(Tensor points, int[] resolutions) -> Tensor"``.
        reference: plain differentiable PyTorch, any floating dtype, any device.
        fake: shapes and dtypes only, for `torch.compile`.
        cpu, cuda: ``"module:function"`` of the kernels, imported at the first call; they take float32 (and integer)
            tensors only. None where there is none.
        mutates: the schema's names of the tensors that are changed in place.
        fallbacks: why the reference ran instead of a kernel, one sentence a cause (see `onefield inspect --system`).
    """

    name: str
    schema: str
    reference: Callable
    fake: Callable
    cpu: str | None = None
    cuda: str | None = None
    mutates: tuple[str, ...] = ()
    fallbacks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._operator = torch.library.custom_op(
            f"onefield::{self.name}", self._fall_back, mutates_args=self.mutates, schema=self.schema
        )
        self._operator.register_fake(self.fake)
        for device, target in (("cpu", self.cpu), ("cuda", self.cuda)):
            if target is not None:
                self._operator.register_kernel(device)(self._late(target))

    def register_autograd(self, backward: Callable, setup_context: Callable) -> None:
        """Gives the kernels their backward; both arguments as in `torch.library.register_autograd`."""
        self._operator.register_autograd(backward, setup_context=setup_context)

    def __call__(self, *arguments):
        if _mode.get() == "reference" or self._needs_reference(arguments):
            return self.reference(*arguments)
        return self._operator(*arguments)

    def _needs_reference(self, arguments: tuple) -> bool:
        for argument in arguments:
            if isinstance(argument, Tensor) and argument.is_floating_point() and argument.dtype != torch.float32:
                kind = str(argument.dtype).removeprefix("torch.")
                self._note(f"{kind} tensors run the PyTorch reference; kernels are float32")
                return True
        return False

    def _fall_back(self, *arguments):
        self._note("no kernel for this device; the PyTorch reference runs")
        return self.reference(*arguments)

    def _note(self, cause: str) -> None:
        if cause not in self.fallbacks:
            self.fallbacks.append(cause)
            _logger.info("%s: %s.", self.name, cause)

    def _late(self, target: str) -> Callable:
        module_name, function_name = target.split(":")
        loaded: list[Callable] = []

        def call(*arguments):
            if not loaded:
                loaded.append(getattr(importlib.import_module(module_name), function_name))
            return loaded[0](*arguments)

        return call
