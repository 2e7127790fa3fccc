"""CPU kernels of the scan, compiled by numba: sixteen channels at a time, their states in vector registers.

Arrays are C-contiguous float32: u, delta, z, y (batch, L, E) with E a multiple of `COUNT`; A (E, N); B, C
(batch, L, N); D, bias (E,). `rows` (L,) int64 says in which order the tokens are visited; they stay where they lie.
A kernel works on the sequences ``b0..b1`` and the blocks of sixteen channels ``first..last`` and releases the GIL, so
that threads can share the work. A tile is `STEPS` tokens of all those blocks: tokens are read and written row after
row, which suits memory. Between the two each block runs through its tile in the cache, `GROUP` states at a time.
"""

import numpy as np

from vivim.scan.cpu.simd import (
    COUNT,
    aligned,
    exp2,
    inlined,
    kernel,
    load,
    part,
    prefetch,
    sigmoid,
    softplus,
    spread,
    store,
    total,
)

STEPS = 64  # the forward keeps the state each so many steps; the backward recomputes the others from there
GROUP = 4
TILE = STEPS * COUNT
PREFETCHED = 4  # rows between the present one and the one prefetched

_f4 = np.float32
_LOG2E = _f4(1.4426950408889634)
_LN2 = _f4(0.6931471805599453)
_ZERO, _ONE = _f4(0.0), _f4(1.0)


@part
def _load_rates(A, j0, blocks, states):
    """A of the blocks from channel j0 on, times log2(e), channels side by side: flat (blocks, states, COUNT)."""
    rates = aligned(blocks * states * COUNT)
    rates[:] = _ZERO
    for i in range(blocks):
        for k in range(A.shape[1]):
            for j in range(COUNT):
                rates[(i * states + k) * COUNT + j] = A[j0 + i * COUNT + j, k] * _LOG2E
    return rates


@part
def _load_weights(B, b, rows, t0, n, states, tile):
    """Load B of a tile in the order visited, to flat (STEPS, states), with 0 for states that B does not have."""
    length, given = B.shape[1], B.shape[2]
    whole = given // COUNT * COUNT
    if states > given:
        tile[:] = _ZERO
    for t in range(n):
        at = b * length + rows[t0 + t]
        for k in range(0, whole, COUNT):
            store(tile, t * states + k, load(B, at * given + k))
        for k in range(whole, given):
            tile[t * states + k] = B[b, rows[t0 + t], k]


@part
def _load_tile(u, delta, D, bias, b, rows, t0, n, j0, blocks, step, drive, read):
    """Write step sizes, step times u, and D times u of a tile, each flat (blocks, STEPS, COUNT)."""
    length, width = u.shape[1], u.shape[2]
    for t in range(n):
        at = (b * length + rows[t0 + t]) * width + j0
        later = (b * length + rows[min(t0 + t + PREFETCHED, length - 1)]) * width + j0
        for i in range(blocks):
            j, o = i * COUNT, i * TILE + t * COUNT
            prefetch(u, later + j)
            prefetch(delta, later + j)
            x = load(u, at + j)
            s = softplus(load(delta, at + j) + load(bias, j0 + j))
            store(step, o, s)
            store(drive, o, s * x)
            store(read, o, load(D, j0 + j) * x)


@part
def _store_tile(read, z, gated, y, b, rows, t0, n, j0, blocks):
    """Write a tile of the output: read, through the gate if there is one."""
    length, width = y.shape[1], y.shape[2]
    for t in range(n):
        at = (b * length + rows[t0 + t]) * width + j0
        later = (b * length + rows[min(t0 + t + PREFETCHED, length - 1)]) * width + j0
        for i in range(blocks):
            prefetch(y, later + i * COUNT)
            value = load(read, i * TILE + t * COUNT)
            if gated:
                prefetch(z, later + i * COUNT)
                gate = load(z, at + i * COUNT)
                value = value * gate * sigmoid(gate)
            store(y, at + i * COUNT, value)


@inlined
def _next(h, s, x, rate, b):
    return exp2(s * rate) * h + x * b


@part
def _advance(state, rates, o, step, drive, read, i0, B, C, k, states, n):
    """Run `GROUP` states of one block through a tile in place, and add what C reads of them to `read`.

    `state`, `rates` are flat and read at `o`; step, drive, read (STEPS, COUNT) at `i0`; B, C flat (STEPS, states).
    """
    a0, a1 = load(rates, o), load(rates, o + COUNT)
    a2, a3 = load(rates, o + 2 * COUNT), load(rates, o + 3 * COUNT)
    h0, h1 = load(state, o), load(state, o + COUNT)
    h2, h3 = load(state, o + 2 * COUNT), load(state, o + 3 * COUNT)
    at, w = i0, k
    for _ in range(n):
        s, x = load(step, at), load(drive, at)
        h0, h1 = _next(h0, s, x, a0, B[w]), _next(h1, s, x, a1, B[w + 1])
        h2, h3 = _next(h2, s, x, a2, B[w + 2]), _next(h3, s, x, a3, B[w + 3])
        store(read, at, load(read, at) + h0 * C[w] + h1 * C[w + 1] + h2 * C[w + 2] + h3 * C[w + 3])
        at += COUNT
        w += states
    store(state, o, h0)
    store(state, o + COUNT, h1)
    store(state, o + 2 * COUNT, h2)
    store(state, o + 3 * COUNT, h3)


@kernel
def forward(u, delta, A, B, C, D, z, bias, gated, rows, y, checkpoints, keep, b0, b1, first, last):
    """Write y, and with `keep` the states before each tile to checkpoints (batch, tiles, E / COUNT, states, COUNT).

    There `states` is N filled up to a multiple of `GROUP`; without `keep` there are no tiles.
    """
    length = u.shape[1]
    blocks, j0, states = last - first, first * COUNT, checkpoints.shape[3]
    rates = _load_rates(A, j0, blocks, states)
    state = aligned(blocks * states * COUNT)
    step, drive, read = aligned(blocks * TILE), aligned(blocks * TILE), aligned(blocks * TILE)
    weights, readers = aligned(STEPS * states), aligned(STEPS * states)
    for b in range(b0, b1):
        state[:] = _ZERO
        for t0 in range(0, length, STEPS):
            n = min(length - t0, STEPS)
            if keep:
                checkpoints[b, t0 // STEPS, first:last] = state.reshape((blocks, states, COUNT))
            _load_tile(u, delta, D, bias, b, rows, t0, n, j0, blocks, step, drive, read)
            _load_weights(B, b, rows, t0, n, states, weights)
            _load_weights(C, b, rows, t0, n, states, readers)
            for i in range(blocks):
                for k in range(0, states, GROUP):
                    o = (i * states + k) * COUNT
                    _advance(state, rates, o, step, drive, read, i * TILE, weights, readers, k, states, n)
            _store_tile(read, z, gated, y, b, rows, t0, n, j0, blocks)


@part
def _load_gradient(d_y, z, gated, b, rows, t0, n, j0, blocks, gradient):
    """Write the gradient of the output before the gate, flat (blocks, STEPS, COUNT)."""
    length, width = d_y.shape[1], d_y.shape[2]
    for t in range(n):
        at = (b * length + rows[t0 + t]) * width + j0
        for i in range(blocks):
            value = load(d_y, at + i * COUNT)
            if gated:
                gate = load(z, at + i * COUNT)
                value = value * gate * sigmoid(gate)
            store(gradient, i * TILE + t * COUNT, value)


@part
def _recompute(start, rates, o, step, drive, i0, B, k, states, n, history, decays):
    """States and decays of one state of one block in a tile.

    `start` and `rates` are read at `o`, step and drive at `i0`; history (STEPS + 1, COUNT), decays (STEPS, COUNT) flat.
    """
    rate, h = load(rates, o), load(start, o)
    store(history, 0, h)
    for t in range(n):
        decay = exp2(load(step, i0 + t * COUNT) * rate)
        h = decay * h + load(drive, i0 + t * COUNT) * B[t * states + k]
        store(decays, t * COUNT, decay)
        store(history, (t + 1) * COUNT, h)


@part
def _retreat(
    adjoint, d_rates, rates, o, history, decays, step, drive, gradient, read, d_drive, d_step, i0,
    B, C, d_B, d_C, k, states, n,
):  # fmt: skip
    """Run one state of one block backward through a tile.

    `adjoint` is what flows into the state from later steps, updated in place. Adds to `d_rates`, to read, d_drive,
    d_step (STEPS, COUNT) at `i0`, and to d_B, d_C, flat (STEPS, states, COUNT): their lanes are still to be summed.
    """
    flow, rate, d_rate = load(adjoint, o), load(rates, o), load(d_rates, o)
    for t in range(n - 1, -1, -1):
        now, at, w = t * COUNT, i0 + t * COUNT, t * states + k
        new, old, g, x = load(history, now + COUNT), load(history, now), load(gradient, at), load(drive, at)
        b, c = B[w], C[w]
        store(read, at, load(read, at) + new * c)
        store(d_C, w * COUNT, load(d_C, w * COUNT) + g * new)
        flow = flow + g * c
        store(d_B, w * COUNT, load(d_B, w * COUNT) + flow * x)
        store(d_drive, at, load(d_drive, at) + flow * b)
        flow = flow * load(decays, now)
        through_decay = flow * old
        store(d_step, at, load(d_step, at) + through_decay * rate)
        d_rate = d_rate + through_decay * load(step, at)
    store(adjoint, o, flow)
    store(d_rates, o, d_rate)


@part
def _store_gradients(
    u, delta, D, bias, z, gated, d_y, b, rows, t0, n, j0, blocks, step, gradient, read, d_drive, d_step,
    d_u, d_delta, d_z, d_D, d_bias,
):  # fmt: skip
    """Write the gradients of u, delta and z of a tile, and add to those of D and bias, flat (blocks, COUNT).

    `read` is the output before gate and skip; `d_step` holds the part through the decay, for rates times log2(e).
    """
    length, width = u.shape[1], u.shape[2]
    for t in range(n):
        at = (b * length + rows[t0 + t]) * width + j0
        for i in range(blocks):
            j, o = i * COUNT, i * TILE + t * COUNT
            x, skip, g, dx = load(u, at + j), load(D, j0 + j), load(gradient, o), load(d_drive, o)
            raw = load(delta, at + j) + load(bias, j0 + j)
            d_raw = (load(d_step, o) * _LN2 + dx * x) * sigmoid(raw)
            store(d_u, at + j, dx * load(step, o) + g * skip)
            store(d_delta, at + j, d_raw)
            store(d_D, j, load(d_D, j) + g * x)
            store(d_bias, j, load(d_bias, j) + d_raw)
            if gated:
                gate = load(z, at + j)
                opened = sigmoid(gate)
                slope = opened * (gate * (spread(_ONE) - opened) + _ONE)
                store(d_z, at + j, load(d_y, at + j) * (load(read, o) + skip * x) * slope)


@part
def _store_weight_gradients(lanes, states, b, rows, t0, n, d_B):
    """Sum lanes, flat (STEPS, states, COUNT), into the rows of d_B (batch, L, N) that a tile has visited."""
    for t in range(n):
        for k in range(d_B.shape[2]):
            d_B[b, rows[t0 + t], k] = total(load(lanes, (t * states + k) * COUNT))


@kernel
def backward(
    d_y, u, delta, A, B, C, D, z, bias, gated, rows, checkpoints,
    d_u, d_delta, d_z, d_A, d_B, d_C, d_D, d_bias, b0, b1, first, last,
):  # fmt: skip
    """Write gradients: d_A (batch, E, N), d_D, d_bias (batch, E) per sequence, d_B, d_C of these blocks alone."""
    length = u.shape[1]
    blocks, j0, states = last - first, first * COUNT, checkpoints.shape[3]
    rates, step_count = _load_rates(A, j0, blocks, states), blocks * states * COUNT
    adjoint, d_rates = aligned(step_count), aligned(step_count)
    step, drive, read = aligned(blocks * TILE), aligned(blocks * TILE), aligned(blocks * TILE)
    gradient, d_drive, d_step = aligned(blocks * TILE), aligned(blocks * TILE), aligned(blocks * TILE)
    history, decays = aligned(TILE + COUNT), aligned(TILE)
    weights, readers = aligned(STEPS * states), aligned(STEPS * states)
    d_weights, d_readers = aligned(TILE * states), aligned(TILE * states)
    skips, biases = aligned(blocks * COUNT), aligned(blocks * COUNT)
    for b in range(b0, b1):
        adjoint[:] = _ZERO
        d_rates[:] = _ZERO
        skips[:] = _ZERO
        biases[:] = _ZERO
        for t0 in range((length - 1) // STEPS * STEPS, -1, -STEPS):
            n = min(length - t0, STEPS)
            start = checkpoints[b, t0 // STEPS, first:last].reshape(step_count)
            _load_tile(u, delta, D, bias, b, rows, t0, n, j0, blocks, step, drive, read)
            _load_gradient(d_y, z, gated, b, rows, t0, n, j0, blocks, gradient)
            _load_weights(B, b, rows, t0, n, states, weights)
            _load_weights(C, b, rows, t0, n, states, readers)
            read[:] = _ZERO
            d_drive[:] = _ZERO
            d_step[:] = _ZERO
            d_weights[:] = _ZERO
            d_readers[:] = _ZERO
            for i in range(blocks):
                for k in range(A.shape[1]):
                    o, i0 = (i * states + k) * COUNT, i * TILE
                    _recompute(start, rates, o, step, drive, i0, weights, k, states, n, history, decays)
                    _retreat(
                        adjoint, d_rates, rates, o, history, decays, step, drive, gradient, read, d_drive, d_step, i0,
                        weights, readers, d_weights, d_readers, k, states, n,
                    )  # fmt: skip
            _store_gradients(
                u, delta, D, bias, z, gated, d_y, b, rows, t0, n, j0, blocks, step, gradient, read, d_drive, d_step,
                d_u, d_delta, d_z, skips, biases,
            )  # fmt: skip
            _store_weight_gradients(d_weights, states, b, rows, t0, n, d_B)
            _store_weight_gradients(d_readers, states, b, rows, t0, n, d_C)
        d_D[b, j0 : j0 + blocks * COUNT] = skips
        d_bias[b, j0 : j0 + blocks * COUNT] = biases
        for i in range(blocks):
            for k in range(A.shape[1]):
                for j in range(COUNT):
                    d_A[b, j0 + i * COUNT + j, k] = d_rates[(i * states + k) * COUNT + j]
