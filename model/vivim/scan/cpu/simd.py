"""`Lanes`: sixteen float32 as one value in numba code, which LLVM keeps in vector registers of whatever width.

numba's own arrays live in memory, so a state held in one is loaded and stored at every step of a recurrence. A value
of this type is an LLVM vector: loops over time carry it in a register (one of AVX-512, two of AVX2, four of NEON).
Made by `load` and `spread`; takes part in ``+ - * /`` with other `Lanes` and with float32 numbers; goes back to memory
by `store`. `exp2`, `sigmoid` and `softplus` work lane by lane.

The exponential is a polynomial because the vectorised library numba would use is not in its wheels: adding 1.5 * 2^23
rounds to an integer, which a shift of bits makes the exponent. That addition must not be reassociated, hence the
floating-point flags without `reassoc`.
"""

import logging
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

_log = logging.getLogger(__name__)
intrinsic: Any = extending.intrinsic  # numba's annotations count the context as an argument of callers

COUNT = 16
MATH = {"contract", "arcp", "nsz"}
"""Floating-point liberties of all kernels: fused multiply-add yes, another order of additions no."""

_FLAGS = tuple(sorted(MATH))
_FLOATS = ir.VectorType(ir.FloatType(), COUNT)
_INTEGERS = ir.VectorType(ir.IntType(32), COUNT)
_ROUNDER = 12582912.0  # 1.5 * 2^23: a float32 added to it is rounded to an integer, kept in the low bits
_ROUNDER_BITS = 0x4B400000
_ALIGNMENT = 4  # bytes: rows of any float32 array may be loaded

_f4 = np.float32
_LOG2E = _f4(1.4426950408889634)
_ZERO, _ONE, _TWO = _f4(0.0), _f4(1.0), _f4(2.0)


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_INTEGERS, [value] * COUNT)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, _constant(0))


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """Sixteen neighbours of a C-contiguous float32 array, counted flat, from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        value = builder.load(pointer)
        value.align = _ALIGNMENT
        return value

    return lanes(array, types.intp), generate


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen neighbours of a C-contiguous float32 array, counted flat, from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], pointer, align=_ALIGNMENT)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def prefetch(context: Any, array: Any, index: Any) -> Any:
    """Prefetch the cache line of a number of a C-contiguous array, counted flat."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, word(0), word(3), word(1)])  # to read, into every cache, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def spread(context: Any, number: Any) -> Any:
    """One float32 in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return lanes(types.float32), generate


@intrinsic
def total(context: Any, value: Any) -> Any:
    """Sum of the lanes, by halves."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, width = arguments[0], COUNT
        while width > 1:
            width //= 2
            shift = ir.Constant(_INTEGERS, [(i + width) % COUNT for i in range(COUNT)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, shift), flags=_FLAGS)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(lanes), generate


@intrinsic
def _magnitude(context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.and_(builder.bitcast(arguments[0], _INTEGERS), _constant(0x7FFFFFFF))
        return builder.bitcast(bits, _FLOATS)

    return lanes(lanes), generate


def _bound(comparison: str) -> Any:
    """Make a function that replaces lanes by `limit` where they compare so, but not NaN."""

    @intrinsic
    def bounded(context: Any, value: Any, limit: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            limit = _spread(builder, arguments[1])
            return builder.select(builder.fcmp_ordered(comparison, arguments[0], limit), limit, arguments[0])

        return lanes(lanes, types.float32), generate

    return bounded


_at_least, _at_most = _bound("<"), _bound(">")


@intrinsic
def _times_power_of_two(context: Any, value: Any, rounded: Any) -> Any:
    """`value` times 2^n for `rounded` = _ROUNDER + n, where n below -126 counts as -126."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lowest = _constant(_ROUNDER_BITS - 126)
        n = builder.bitcast(arguments[1], _INTEGERS)
        n = builder.select(builder.icmp_signed("<", n, lowest), lowest, n)
        bits = builder.add(builder.bitcast(arguments[0], _INTEGERS), builder.shl(n, _constant(23)))
        return builder.bitcast(bits, _FLOATS)

    return lanes(lanes, lanes), generate


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def operate(context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=_FLAGS)

        return lanes(lanes, lanes), generate

    return operate


def _overload_operator(operation: Callable[..., Any], instruction: str) -> None:
    operate = _arithmetic(instruction)

    @overload(operation, inline="always")
    def choose(a, b):  # numba compares its signature with those of what it returns
        if isinstance(a, _LanesType) and isinstance(b, _LanesType):
            return lambda a, b: operate(a, b)
        if isinstance(a, _LanesType) and isinstance(b, types.Float):
            return lambda a, b: operate(a, spread(b))
        if isinstance(a, types.Float) and isinstance(b, _LanesType):
            return lambda a, b: operate(spread(a), b)
        return None


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overload_operator(_operation, _instruction)


def kernel(function: Callable[..., None]) -> Any:
    """Compile at the first call, release the GIL, keep the machine code on disk where a folder can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": MATH, "error_model": "numpy", "boundscheck": False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError as error:
        _log.info("The compiled kernel is not kept on disk: %s", error)
        return njit(**options)(function)


part = njit(fastmath=MATH, error_model="numpy", boundscheck=False)
"""Compile a function that kernels call."""

inlined = njit(inline="always", fastmath=MATH, error_model="numpy", boundscheck=False)
"""As `part`, for functions that take or return `Lanes` one at a time."""


@part
def aligned(count):
    """New float32 array of so many numbers, uninitialised, that starts where a vector may be loaded at once."""
    buffer = np.empty(count + COUNT, np.float32)
    skip = -(buffer.ctypes.data >> 2) & (COUNT - 1)
    return buffer[skip : skip + count]


@inlined
def exp2(x):
    """2^x to 1e-8 of its value before rounding, for x from -4 million, where -126 is the lowest power, to 127."""
    rounded = x + _f4(_ROUNDER)
    f = x - (rounded - _f4(_ROUNDER))
    p = f * _f4(1.5453163e-4) + _f4(1.33908637e-3)
    p = p * f + _f4(9.61808256e-3)
    p = p * f + _f4(5.55035711e-2)
    p = p * f + _f4(2.40226508e-1)
    p = p * f + _f4(6.93147188e-1)
    p = p * f + _ONE
    return _times_power_of_two(p, rounded)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    power = _at_least(_at_most(x * -_LOG2E, _f4(126.0)), _f4(-126.0))
    return _ONE / (exp2(power) + _ONE)


@inlined
def softplus(x):
    """log(1 + exp(x)), with log1p(e) as its atanh series in e / (2 + e)."""
    e = exp2(_at_least(_magnitude(x) * -_LOG2E, _f4(-126.0)))
    w = e / (e + _TWO)
    w2 = w * w
    p = w2 * _f4(2 / 13) + _f4(2 / 11)
    p = p * w2 + _f4(2 / 9)
    p = p * w2 + _f4(2 / 7)
    p = p * w2 + _f4(2 / 5)
    p = p * w2 + _f4(2 / 3)
    p = p * w2 + _TWO
    return _at_least(x, _ZERO) + p * w


@inlined
def relu(x):
    """x, or 0 where it is negative."""
    return _at_least(x, _ZERO)


@inlined
def gelu(x):
    """x times the normal distribution function, whose error function is Abramowitz and Stegun's 7.1.26 (to 1.5e-7)."""
    z = _magnitude(x) * _f4(0.70710678)
    t = _ONE / (z * _f4(0.3275911) + _ONE)
    p = t * _f4(1.061405429) - _f4(1.453152027)
    p = p * t + _f4(1.421413741)
    p = p * t - _f4(0.284496736)
    p = p * t + _f4(0.254829592)
    tail = p * t * exp2(_at_least(z * z * -_LOG2E, _f4(-126.0))) * _f4(0.5)
    return _at_least(x, _ZERO) - _magnitude(x) * tail
