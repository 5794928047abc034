"""Numerics with more than one implementation: contract and reference here, kernels in ``cpu`` and ``cuda``."""

from onefield.kernels.dispatch import use

__all__ = ["use"]
