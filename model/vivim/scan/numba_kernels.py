"""CPU kernels of the scan, compiled by numba: sixteen channels by sixteen states at a time.

Arrays are C-contiguous float32: u, delta, z, y (batch, L, E) with E a multiple of LANES; B, C (batch, L, N) with N a
multiple of STATES; A (N, E), transposed so that channels lie side by side; D, bias (E,). Loops over LANES and STATES
have fixed bounds, which lets sums stay in registers. A kernel works through every `stride`-th block of channels from
block `first` on and releases the GIL, so that threads can share the blocks.

The exponential is a polynomial because the vectorised library numba would use is not in its wheels: adding 1.5 * 2^23
rounds to an integer, which a shift of bits makes the exponent. That addition must not be reassociated, hence the
fastmath flags without `reassoc`; NaN and infinity stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 16  # channels
STATES = 16
STEPS = 64  # the forward keeps the state each so many steps; the backward recomputes the others from there

_log = logging.getLogger(__name__)
_f4 = np.float32
_MATH = {"contract", "arcp", "nsz"}
_REDUCTION = {"contract", "arcp", "nsz", "reassoc"}
_ROUNDER = _f4(12582912.0)
_LOG2E = _f4(1.4426950408889634)
_LN2 = _f4(0.6931471805599453)
_ZERO, _ONE, _TWO = _f4(0.0), _f4(1.0), _f4(2.0)


def _kernel(function: Callable[..., None]) -> Any:
    """Compile at the first call and keep the machine code on disk where a folder for it can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _MATH, "error_model": "numpy", "boundscheck": False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError as error:
        _log.info("The compiled scan is not kept on disk: %s", error)
        return njit(**options)(function)


@intrinsic
def _bits(context: Any, x: Any) -> Any:
    """Reinterpret a float32 as an int32."""
    del context, x

    def generate(codegen: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _float(context: Any, x: Any) -> Any:
    """Reinterpret an int32 as a float32."""
    del context, x

    def generate(codegen: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=_MATH)
def _exp2(x):
    """2^x for x below 127, to 1e-8 of its value before rounding; 2^-126 for anything smaller."""
    x = _f4(-126.0) if x < _f4(-126.0) else x
    shifted = x + _ROUNDER
    f = x - (shifted - _ROUNDER)
    p = _f4(1.5453163e-4)
    p = p * f + _f4(1.33908637e-3)
    p = p * f + _f4(9.61808256e-3)
    p = p * f + _f4(5.55035711e-2)
    p = p * f + _f4(2.40226508e-1)
    p = p * f + _f4(6.93147188e-1)
    p = p * f + _ONE
    return _float(_bits(p) + (_bits(shifted) << np.int32(23)))  # type: ignore[call-arg]


@njit(inline="always", fastmath=_MATH)
def _sigmoid(x):
    return _ONE / (_ONE + _exp2(min(-x * _LOG2E, _f4(126.0))))


@njit(inline="always", fastmath=_MATH)
def _softplus(x):
    """log(1 + exp(x)), with log1p(e) as its atanh series in e / (2 + e)."""
    e = _exp2(-abs(x) * _LOG2E)
    w = e / (_TWO + e)
    w2 = w * w
    p = _f4(2 / 13)
    p = p * w2 + _f4(2 / 11)
    p = p * w2 + _f4(2 / 9)
    p = p * w2 + _f4(2 / 7)
    p = p * w2 + _f4(2 / 5)
    p = p * w2 + _f4(2 / 3)
    p = p * w2 + _TWO
    return (_ZERO if x < _ZERO else x) + p * w


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _load_drive(u, delta, bias, b, t0, j0, step, drive):
    """Step sizes and step times u of the tile that starts at (b, t0, j0); step, drive (T, LANES)."""
    for t in range(step.shape[0]):
        u_t, delta_t = u[b, t0 + t, j0 : j0 + LANES], delta[b, t0 + t, j0 : j0 + LANES]
        step_t, drive_t = step[t], drive[t]
        for j in range(LANES):
            s = _softplus(delta_t[j] + bias[j])
            step_t[j] = s
            drive_t[j] = s * u_t[j]


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _advance(state, rates, step, drive, B, C, k0, y):
    """Run states k0.. of a tile forward, in place; add what C reads of them to y (T, LANES)."""
    for t in range(step.shape[0]):
        step_t, drive_t, y_t = step[t], drive[t], y[t]
        for k in range(STATES):
            b, c = B[t, k0 + k], C[t, k0 + k]
            rate, s = rates[k], state[k]
            for j in range(LANES):
                new = _exp2(step_t[j] * rate[j]) * s[j] + drive_t[j] * b
                s[j] = new
                y_t[j] += new * c


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _gate(z, values, b, t0, j0):
    """Multiply values (T, LANES) by SiLU of z's tile at (b, t0, j0), in place."""
    for t in range(values.shape[0]):
        z_t, values_t = z[b, t0 + t, j0 : j0 + LANES], values[t]
        for j in range(LANES):
            values_t[j] *= z_t[j] * _sigmoid(z_t[j])


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _skip(u, D, b, t0, j0, read):
    """Write D times u of the tile at (b, t0, j0) to read (T, LANES)."""
    for t in range(read.shape[0]):
        u_t, read_t = u[b, t0 + t, j0 : j0 + LANES], read[t]
        for j in range(LANES):
            read_t[j] = D[j] * u_t[j]


@_kernel
def forward(u, delta, A, B, C, D, z, bias, gated, y, checkpoints, keep, first, stride):
    """Write y; with `keep`, the states before each tile to checkpoints (batch, tiles, blocks, N, LANES)."""
    batch, length, width = u.shape
    states, blocks = A.shape[0], width // LANES
    rates = np.empty((states, LANES), _f4)
    state = np.empty((states, LANES), _f4)
    step = np.empty((STEPS, LANES), _f4)
    drive = np.empty((STEPS, LANES), _f4)
    read = np.empty((STEPS, LANES), _f4)
    for i in range(first, batch * blocks, stride):
        b, block = i // blocks, i % blocks
        j0 = block * LANES
        j1 = j0 + LANES
        rates[:] = A[:, j0:j1] * _LOG2E
        state[:] = _ZERO
        for t0 in range(0, length, STEPS):
            t1 = min(length, t0 + STEPS)
            if keep:
                checkpoints[b, t0 // STEPS, block] = state
            n = t1 - t0
            _load_drive(u, delta, bias[j0:j1], b, t0, j0, step[:n], drive[:n])
            _skip(u, D[j0:j1], b, t0, j0, read[:n])
            for k0 in range(0, states, STATES):
                k1 = k0 + STATES
                _advance(
                    state[k0:k1], rates[k0:k1], step[:n], drive[:n], B[b, t0:t1], C[b, t0:t1], k0, read[:n]
                )  # fmt: skip
            if gated:
                _gate(z, read[:n], b, t0, j0)
            y[b, t0:t1, j0:j1] = read[:n]


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _recompute(states, decays, rates, step, drive, B, k0):
    """States k0.. and decays of a tile from states[0]; states (T + 1, STATES, LANES), decays (T, STATES, LANES)."""
    for t in range(step.shape[0]):
        step_t, drive_t = step[t], drive[t]
        for k in range(STATES):
            b = B[t, k0 + k]
            rate, old, new, decay = rates[k], states[t, k], states[t + 1, k], decays[t, k]
            for j in range(LANES):
                d = _exp2(step_t[j] * rate[j])
                decay[j] = d
                new[j] = d * old[j] + drive_t[j] * b


@njit(fastmath=_REDUCTION, error_model="numpy", boundscheck=False)
def _retreat(
    states, decays, rates, adjoint, d_rates, step, drive, gradient, read, d_drive, d_step, B, C, d_B, d_C, k0
):  # fmt: skip
    """Run states k0.. of a tile backward.

    `adjoint` (STATES, LANES) is what flows into the state from later steps, updated in place; `gradient` (T, LANES)
    that of the outputs before the gate. Adds to read, d_drive, d_step (T, LANES), d_rates, d_B and d_C.
    """
    for t in range(step.shape[0] - 1, -1, -1):
        step_t, drive_t, gradient_t = step[t], drive[t], gradient[t]
        read_t, d_drive_t, d_step_t = read[t], d_drive[t], d_step[t]
        for k in range(STATES):
            b, c = B[t, k0 + k], C[t, k0 + k]
            sum_b, sum_c = _ZERO, _ZERO
            new, old, decay = states[t + 1, k], states[t, k], decays[t, k]
            flow, rate, d_rate = adjoint[k], rates[k], d_rates[k]
            for j in range(LANES):
                read_t[j] += new[j] * c
                sum_c += gradient_t[j] * new[j]
                q = flow[j] + gradient_t[j] * c
                sum_b += q * drive_t[j]
                d_drive_t[j] += q * b
                q *= decay[j]
                flow[j] = q
                w = q * old[j]
                d_step_t[j] += w * rate[j]
                d_rate[j] += w * step_t[j]
            d_B[t, k0 + k] += sum_b
            d_C[t, k0 + k] += sum_c


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _gate_gradient(z, d_y, u, D, read, b, t0, j0, d_z):
    """Write the gate's gradient of the tile at (b, t0, j0); read (T, LANES) is the output before skip and gate."""
    for t in range(read.shape[0]):
        z_t, d_y_t = z[b, t0 + t, j0 : j0 + LANES], d_y[b, t0 + t, j0 : j0 + LANES]
        u_t, d_z_t, read_t = u[b, t0 + t, j0 : j0 + LANES], d_z[b, t0 + t, j0 : j0 + LANES], read[t]
        for j in range(LANES):
            opened = _sigmoid(z_t[j])
            slope = opened * (_ONE + z_t[j] * (_ONE - opened))
            d_z_t[j] = d_y_t[j] * (read_t[j] + D[j] * u_t[j]) * slope


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _input_gradients(
    u, delta, bias, D, b, t0, j0, step, gradient, d_drive, d_step, d_u, d_delta, d_D, d_bias
):  # fmt: skip
    """Write the gradients of u and delta of the tile at (b, t0, j0); add to those of D and bias.

    `d_step` (T, LANES) holds the part that comes through the decay, for rates times log2(e).
    """
    for t in range(step.shape[0]):
        u_t, delta_t = u[b, t0 + t, j0 : j0 + LANES], delta[b, t0 + t, j0 : j0 + LANES]
        d_u_t, d_delta_t = d_u[b, t0 + t, j0 : j0 + LANES], d_delta[b, t0 + t, j0 : j0 + LANES]
        step_t, gradient_t, d_drive_t, d_step_t = step[t], gradient[t], d_drive[t], d_step[t]
        for j in range(LANES):
            d_u_t[j] = d_drive_t[j] * step_t[j] + gradient_t[j] * D[j]
            d = (d_step_t[j] * _LN2 + d_drive_t[j] * u_t[j]) * _sigmoid(delta_t[j] + bias[j])
            d_delta_t[j] = d
            d_bias[j] += d
            d_D[j] += gradient_t[j] * u_t[j]


@_kernel
def backward(
    d_y, u, delta, A, B, C, D, z, bias, gated, checkpoints,
    d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, first, stride,
):  # fmt: skip
    """Write all gradients; d_A (batch, N, E), d_D, d_bias (batch, E) per sequence; adds to d_B, d_C."""
    batch, length, width = u.shape
    states, blocks = A.shape[0], width // LANES
    rates = np.empty((states, LANES), _f4)
    d_rates = np.empty((states, LANES), _f4)
    adjoint = np.empty((states, LANES), _f4)
    history = np.empty((STEPS + 1, STATES, LANES), _f4)
    decays = np.empty((STEPS, STATES, LANES), _f4)
    step = np.empty((STEPS, LANES), _f4)
    drive = np.empty((STEPS, LANES), _f4)
    gradient = np.empty((STEPS, LANES), _f4)
    read = np.empty((STEPS, LANES), _f4)
    d_drive = np.empty((STEPS, LANES), _f4)
    d_step = np.empty((STEPS, LANES), _f4)
    for i in range(first, batch * blocks, stride):
        b, block = i // blocks, i % blocks
        j0 = block * LANES
        j1 = j0 + LANES
        rates[:] = A[:, j0:j1] * _LOG2E
        adjoint[:] = _ZERO
        d_rates[:] = _ZERO
        d_D[b, j0:j1] = _ZERO
        d_bias[b, j0:j1] = _ZERO
        for t0 in range((length - 1) // STEPS * STEPS, -1, -STEPS):
            t1 = min(length, t0 + STEPS)
            n = t1 - t0
            _load_drive(u, delta, bias[j0:j1], b, t0, j0, step[:n], drive[:n])
            gradient[:n] = d_y[b, t0:t1, j0:j1]
            if gated:
                _gate(z, gradient[:n], b, t0, j0)
            read[:] = _ZERO
            d_drive[:] = _ZERO
            d_step[:] = _ZERO
            for k0 in range(0, states, STATES):
                k1 = k0 + STATES
                history[0] = checkpoints[b, t0 // STEPS, block, k0:k1]
                _recompute(history, decays, rates[k0:k1], step[:n], drive[:n], B[b, t0:t1], k0)
                _retreat(
                    history, decays, rates[k0:k1], adjoint[k0:k1], d_rates[k0:k1], step[:n], drive[:n],
                    gradient[:n], read[:n], d_drive[:n], d_step[:n],
                    B[b, t0:t1], C[b, t0:t1], d_B[b, t0:t1], d_C[b, t0:t1], k0,
                )  # fmt: skip
            _input_gradients(
                u, delta, bias[j0:j1], D[j0:j1], b, t0, j0, step[:n], gradient[:n], d_drive[:n], d_step[:n],
                d_u, d_delta, d_D[b, j0:j1], d_bias[b, j0:j1],
            )  # fmt: skip
            if gated:
                _gate_gradient(z, d_y, u, D[j0:j1], read[:n], b, t0, j0, d_z)
        d_A[b, :, j0:j1] = d_rates
