"""Powers of two as the compiler's vectors can take them: a polynomial and an exponent field."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Exponents of `exp2` must not be below this by much: the exponent field of a float32 would run out at -126.
LOWEST = np.float32(-20)
# A natural exponent times this is one of base 2.
TO_BASE_2 = np.float32(1 / math.log(2))
# Of 2^x on [0, 1): the interpolant in seven Chebyshev points, off by at most 2.6e-9 of the value.
_C0 = np.float32(1.0000000025307454)
_C1 = np.float32(0.6931469327588494)
_C2 = np.float32(0.24023045441248367)
_C3 = np.float32(0.05548063019600287)
_C4 = np.float32(0.009684186311643219)
_C5 = np.float32(0.0012391331823096154)
_C6 = np.float32(0.00021865784823863317)
_BIAS = np.int32(127)
_MANTISSA = np.int32(23)


@njit(fastmath={"contract", "nsz", "arcp", "reassoc"}, error_model="numpy")
def exp2(x):
    """2^x of a float32, x at most 0 and not far below `LOWEST`."""
    whole = np.floor(x)
    rest = x - whole
    value = _C0 + rest * (_C1 + rest * (_C2 + rest * (_C3 + rest * (_C4 + rest * (_C5 + rest * _C6)))))
    return value * np.int32((np.int32(whole) + _BIAS) << _MANTISSA).view(np.float32)
