"""CPU kernels of the scan, compiled by numba: sixteen channels and all their states at a time.

Arrays are C-contiguous float32: u, delta, z, y (batch, L, E) with E a multiple of LANES; B, C (batch, L, N);
A (N, E), transposed so that channels lie side by side; D, bias (E,). A kernel works through every `stride`-th block of
channels from block `first` on and releases the GIL, so that threads can share the blocks.

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

LANES = 16
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
    options = {"nogil": True, "fastmath": _MATH, "error_model": "numpy", "boundscheck": False}
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
    return _float(_bits(p) + (_bits(shifted) << np.int32(23)))


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
def _load_drive(u, delta, bias, step, drive):
    """Step sizes and step times u of a tile; u, delta, step, drive (T, LANES)."""
    for t in range(u.shape[0]):
        u_t, delta_t, step_t, drive_t = u[t], delta[t], step[t], drive[t]
        for j in range(LANES):
            s = _softplus(delta_t[j] + bias[j])
            step_t[j] = s
            drive_t[j] = s * u_t[j]


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _advance(state, rates, step, drive, B, C, y):
    """Run a tile forward from `state` (N, LANES), which ends at its last step; add what C reads to y (T, LANES)."""
    for t in range(step.shape[0]):
        step_t, drive_t, y_t = step[t], drive[t], y[t]
        for k in range(state.shape[0]):
            b, c = B[t, k], C[t, k]
            rate, s = rates[k], state[k]
            for j in range(LANES):
                new = _exp2(step_t[j] * rate[j]) * s[j] + drive_t[j] * b
                s[j] = new
                y_t[j] += new * c


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _gate_output(z, read, y):
    """Write `read` times SiLU(z) to y; all (T, LANES)."""
    for t in range(z.shape[0]):
        z_t, read_t, y_t = z[t], read[t], y[t]
        for j in range(LANES):
            y_t[j] = read_t[j] * z_t[j] * _sigmoid(z_t[j])


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
            tile = t1 - t0
            _load_drive(u[b, t0:t1, j0:j1], delta[b, t0:t1, j0:j1], bias[j0:j1], step[:tile], drive[:tile])
            for t in range(tile):
                for j in range(LANES):
                    read[t, j] = D[j0 + j] * u[b, t0 + t, j0 + j]
            _advance(state, rates, step[:tile], drive[:tile], B[b, t0:t1], C[b, t0:t1], read[:tile])
            if gated:
                _gate_output(z[b, t0:t1, j0:j1], read[:tile], y[b, t0:t1, j0:j1])
            else:
                y[b, t0:t1, j0:j1] = read[:tile]


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _recompute(states, decays, rates, step, drive, B):
    """All states and decays of a tile from states[0]; states (T + 1, N, LANES), decays (T, N, LANES)."""
    for t in range(step.shape[0]):
        step_t, drive_t = step[t], drive[t]
        for k in range(rates.shape[0]):
            b = B[t, k]
            rate, old, new, decay = rates[k], states[t, k], states[t + 1, k], decays[t, k]
            for j in range(LANES):
                d = _exp2(step_t[j] * rate[j])
                decay[j] = d
                new[j] = d * old[j] + drive_t[j] * b


@njit(fastmath=_REDUCTION, error_model="numpy", boundscheck=False)
def _retreat(states, decays, rates, adjoint, d_rates, step, drive, gradient, read, d_drive, d_step, B, C, d_B, d_C):
    """Run a tile backward.

    `adjoint` (N, LANES) is what flows into the state from later steps; `gradient` that of the outputs before the gate.
    Overwrites read, d_drive, d_step (T, LANES); adds to d_rates (N, LANES), d_B, d_C (T, N).
    """
    for t in range(step.shape[0] - 1, -1, -1):
        step_t, drive_t, gradient_t = step[t], drive[t], gradient[t]
        read_t, d_drive_t, d_step_t = read[t], d_drive[t], d_step[t]
        read_t[:] = _ZERO
        d_drive_t[:] = _ZERO
        d_step_t[:] = _ZERO
        for k in range(rates.shape[0]):
            b, c = B[t, k], C[t, k]
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
            d_B[t, k] += sum_b
            d_C[t, k] += sum_c


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _ungate(z, d_y, gradient):
    """Gradient before the gate; all (T, LANES)."""
    for t in range(z.shape[0]):
        z_t, d_y_t, gradient_t = z[t], d_y[t], gradient[t]
        for j in range(LANES):
            gradient_t[j] = d_y_t[j] * z_t[j] * _sigmoid(z_t[j])


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _gate_gradient(z, d_y, u, read, D, d_z):
    """Gradient of the gate; `read` is the output before skip and gate."""
    for t in range(z.shape[0]):
        z_t, d_y_t, u_t, read_t, d_z_t = z[t], d_y[t], u[t], read[t], d_z[t]
        for j in range(LANES):
            opened = _sigmoid(z_t[j])
            slope = opened * (_ONE + z_t[j] * (_ONE - opened))
            d_z_t[j] = d_y_t[j] * (read_t[j] + D[j] * u_t[j]) * slope


@njit(fastmath=_MATH, error_model="numpy", boundscheck=False)
def _input_gradients(u, delta, bias, D, step, gradient, d_drive, d_step, d_u, d_delta, d_D, d_bias):
    """Gradients of u and delta; adds to those of D and bias. `d_step` holds the part through the decay, in log 2."""
    for t in range(u.shape[0]):
        u_t, delta_t, step_t, gradient_t = u[t], delta[t], step[t], gradient[t]
        d_drive_t, d_step_t, d_u_t, d_delta_t = d_drive[t], d_step[t], d_u[t], d_delta[t]
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
    history = np.empty((STEPS + 1, states, LANES), _f4)
    decays = np.empty((STEPS, states, LANES), _f4)
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
            u_t, delta_t, z_t = u[b, t0:t1, j0:j1], delta[b, t0:t1, j0:j1], z[b, t0:t1, j0:j1]
            d_y_t = d_y[b, t0:t1, j0:j1]
            _load_drive(u_t, delta_t, bias[j0:j1], step[:n], drive[:n])
            if gated:
                _ungate(z_t, d_y_t, gradient[:n])
            else:
                gradient[:n] = d_y_t
            history[0] = checkpoints[b, t0 // STEPS, block]
            _recompute(history, decays, rates, step[:n], drive[:n], B[b, t0:t1])
            _retreat(
                history, decays, rates, adjoint, d_rates, step[:n], drive[:n], gradient[:n], read[:n],
                d_drive[:n], d_step[:n], B[b, t0:t1], C[b, t0:t1], d_B[b, t0:t1], d_C[b, t0:t1],
            )  # fmt: skip
            _input_gradients(
                u_t, delta_t, bias[j0:j1], D[j0:j1], step[:n], gradient[:n], d_drive[:n], d_step[:n],
                d_u[b, t0:t1, j0:j1], d_delta[b, t0:t1, j0:j1], d_D[b, j0:j1], d_bias[b, j0:j1],
            )  # fmt: skip
            if gated:
                _gate_gradient(z_t, d_y_t, u_t, read[:n], D[j0:j1], d_z[b, t0:t1, j0:j1])
        d_A[b, :, j0:j1] = d_rates
