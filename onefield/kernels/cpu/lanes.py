"""Short vectors of float32 inside Numba kernels: one load, one multiplication, one store for all features of a row.

Numba leaves the vectoriser off that would find them in scalar code. ``lanes`` is a number that the compiler sees (1, 2
or 4); arrays are two-dimensional, C-contiguous float32.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core.types import Type
from numba.core.typing import Signature
from numba.core.typing.context import BaseContext
from numba.extending import intrinsic, models, register_model

_FLOAT_BYTES = 4
# What the compiler is told of an operation: its types, and what to write for it; None where it does not apply.
_Answer = tuple[Signature, Callable] | None
# Sums of products may be fused, as in the kernels around.
_FLAGS = ("contract",)


class _Lanes(Type):
    """Numba's type of a vector."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Lanes({lanes})")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind: _Lanes) -> None:
        super().__init__(manager, kind, _vector(kind.lanes))


def _vector(lanes: int) -> ir.VectorType:
    return ir.VectorType(ir.FloatType(), lanes)


def _is_table(array) -> bool:
    return isinstance(array, types.Array) and array.ndim == 2 and array.layout == "C" and array.dtype == types.float32


def _address(context, builder, kind, array, row, column):
    view = context.make_array(kind)(context, builder, array)
    width = builder.extract_value(view.shape, 1)
    return builder.gep(view.data, [builder.add(builder.mul(row, width), column)])


@intrinsic(prefer_literal=True)
def load(typing: BaseContext, array: Type, row: Type, column: Type, lanes: Type) -> _Answer:
    """``array[row, column : column + lanes]``, unchecked."""
    if not (_is_table(array) and isinstance(lanes, types.IntegerLiteral)):
        return None
    kind = _Lanes(lanes.literal_value)

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:3])
        return builder.load(builder.bitcast(address, _vector(kind.lanes).as_pointer()), align=_FLOAT_BYTES)

    return kind(array, types.int64, types.int64, lanes), generate


@intrinsic
def store(typing: BaseContext, array: Type, row: Type, column: Type, values: Type) -> _Answer:
    """``array[row, column : column + lanes] = values``, unchecked."""
    if not (_is_table(array) and isinstance(values, _Lanes)):
        return None

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:3])
        builder.store(arguments[3], builder.bitcast(address, arguments[3].type.as_pointer()), align=_FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, values), generate


@intrinsic(prefer_literal=True)
def zeros(typing: BaseContext, lanes: Type) -> _Answer:
    """A vector of zeros."""
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    kind = _Lanes(lanes.literal_value)

    def generate(context, builder, signature, arguments):
        return ir.Constant(_vector(kind.lanes), [0.0] * kind.lanes)

    return kind(lanes), generate


@intrinsic
def add_scaled(typing: BaseContext, sums: Type, factor: Type, values: Type) -> _Answer:
    """``sums + factor * values``."""
    if not (isinstance(sums, _Lanes) and values == sums):
        return None

    def generate(context, builder, signature, arguments):
        sums, factor, values = arguments
        first = builder.insert_element(ir.Constant(sums.type, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
        every = ir.Constant(ir.VectorType(ir.IntType(32), sums.type.count), [0] * sums.type.count)
        factors = builder.shuffle_vector(first, first, every)
        return builder.fadd(sums, builder.fmul(factors, values, flags=_FLAGS), flags=_FLAGS)

    return sums(sums, types.float32, values), generate
