"""Numba kernels for CPU tensors; where they are cached must be settled before the first of them is imported."""

from onefield.kernels.system import configure_cache, prefer_openmp

configure_cache()
prefer_openmp()
