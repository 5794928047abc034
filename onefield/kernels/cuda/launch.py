"""What launching any Triton kernel takes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def on_device(device: torch.device) -> AbstractContextManager:
    """Triton launches on the current card; this makes it the tensors' own (the interpreter runs on CPU tensors)."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
