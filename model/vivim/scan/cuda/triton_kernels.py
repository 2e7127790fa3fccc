"""Triton kernels of the scan: each program takes one chunk of one sequence and one block of channels.

A program's states are a tile (BLOCK_N, BLOCK_E). With one warp and BLOCK_E = 32 a thread owns one channel and
all its states, so that sums over states need no exchange between threads. Pointers are to contiguous tensors:
u, delta, z, y (batch, L, E); B and C (batch, L, N); A (E, N), D and bias (E,), in any float dtype; states of chunks
(batch, chunks, N, E) float32. Numbers are float32 in registers. Steps past the end of a sequence have step size 0,
which leaves a state unchanged.

Steps are taken four at a time, the loads of all four first: a load waits for the stores before it, and the GPU can
only hide waiting behind loads it has already begun.
"""

import triton
import triton.language as tl

GROUP = 4  # steps whose states the backward holds in registers at a time; its loop is written out for four

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _softplus(x):
    """log(1 + exp(x)), with log1p as an atanh series: log(1 + e) would lose the digits of small step sizes."""
    e = tl.exp2(-tl.abs(x) * _LOG2E)
    w = e / (2.0 + e)
    w2 = w * w
    series = 2.0 / 13 * w2 + 2.0 / 11
    series = series * w2 + 2.0 / 9
    series = series * w2 + 2.0 / 7
    series = series * w2 + 2.0 / 5
    series = series * w2 + 2.0 / 3
    series = series * w2 + 2.0
    return tl.maximum(x, 0.0) + series * w


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp2(-x * _LOG2E))


@triton.jit
def _where_am_i(chunks, blocks):
    """Split the program's number into (batch and chunk as one int64 index, batch, chunk, channel block)."""
    program = tl.program_id(0)
    block = program % blocks
    row = program // blocks
    return row.to(tl.int64), (row // chunks).to(tl.int64), row % chunks, block


@triton.jit
def _load_vector(pointer, e, mask, PRESENT: tl.constexpr):
    if PRESENT:
        return tl.load(pointer + e, mask=mask, other=0.0).to(tl.float32)
    else:
        return tl.zeros(e.shape, tl.float32)


@triton.jit
def _load_rates(A, e, n, N, mask):
    """Decay rates (BLOCK_N, BLOCK_E) for powers of two: A transposed, times log2(e)."""
    return tl.load(A + e[None, :] * N + n[:, None], mask=mask, other=0.0).to(tl.float32) * _LOG2E


@triton.jit
def _load_row(pointer, index, offsets, width, mask, inside):
    """Row `index` of a (rows, width) tensor as float32, zeros where masked or outside of the sequence."""
    return tl.load(pointer + index * width + offsets, mask=mask & inside, other=0.0).to(tl.float32)


@triton.jit
def _read_step(delta, bias, index, e, E, e_mask, inside):
    """Step size before the softplus, and after it with 0 outside of the sequence."""
    raw = _load_row(delta, index, e, E, e_mask, inside) + bias
    return raw, tl.where(inside, _softplus(raw), 0.0)


@triton.jit
def _read_drive(u, delta, bias, B, index, inside, E, N, e, n, e_mask, n_mask):
    """Inputs of the state at one step: u, the step size before and after the softplus, and B."""
    x = _load_row(u, index, e, E, e_mask, inside)
    raw, step = _read_step(delta, bias, index, e, E, e_mask, inside)
    return x, raw, step, _load_row(B, index, n, N, n_mask, inside)


@triton.jit
def _read_outlet(z, C, index, inside, E, N, e, n, e_mask, n_mask, HAS_Z: tl.constexpr):
    """Gate and C of one step, which lead from the state to the output."""
    gate = tl.zeros(e.shape, tl.float32)
    if HAS_Z:
        gate = _load_row(z, index, e, E, e_mask, inside)
    return gate, _load_row(C, index, n, N, n_mask, inside)


@triton.jit
def _read_demand(grad, z, C, index, inside, E, N, e, n, e_mask, n_mask, HAS_Z: tl.constexpr):
    """Further inputs of the backward pass at one step: the output's gradient, the gate, and C."""
    gate, read = _read_outlet(z, C, index, inside, E, N, e, n, e_mask, n_mask, HAS_Z)
    return _load_row(grad, index, e, E, e_mask, inside), gate, read


@triton.jit
def _output(state, x, read, gate, skip, HAS_Z: tl.constexpr):
    """Output of one step, with skip and gate."""
    result = tl.sum(state * read[:, None], axis=0) + skip * x
    if HAS_Z:
        result *= gate * _sigmoid(gate)
    return result


@triton.jit
def _advance(state, x, step, weights, rates):
    """State after one step from the state before it."""
    return tl.exp2(step[None, :] * rates) * state + (step * x)[None, :] * weights[:, None]


@triton.jit
def chunk_states(
    u, delta, bias, A, B, last, total,
    L, E, N, chunks, blocks,
    HAS_BIAS: tl.constexpr, CHUNK: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_E: tl.constexpr,
):  # fmt: skip
    """Forward pass 1: a chunk's last state from a zero start into `last`, its summed step sizes into `total`."""
    row, batch, chunk, block = _where_am_i(chunks, blocks)
    e = block * BLOCK_E + tl.arange(0, BLOCK_E)
    n = tl.arange(0, BLOCK_N)
    e_mask = e < E
    n_mask = n < N
    tile = n[:, None] * E + e[None, :]
    tile_mask = n_mask[:, None] & e_mask[None, :]
    decay_rates = _load_rates(A, e, n, N, tile_mask)
    offset = _load_vector(bias, e, e_mask, HAS_BIAS)
    state = tl.zeros((BLOCK_N, BLOCK_E), tl.float32)
    summed = tl.zeros((BLOCK_E,), tl.float32)
    for group in range(CHUNK // 4):
        t = chunk * CHUNK + group * 4
        at = batch * L + t
        x0, _, step0, b0 = _read_drive(u, delta, offset, B, at, t < L, E, N, e, n, e_mask, n_mask)
        x1, _, step1, b1 = _read_drive(u, delta, offset, B, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask)
        x2, _, step2, b2 = _read_drive(u, delta, offset, B, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask)
        x3, _, step3, b3 = _read_drive(u, delta, offset, B, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask)
        state = _advance(state, x0, step0, b0, decay_rates)
        state = _advance(state, x1, step1, b1, decay_rates)
        state = _advance(state, x2, step2, b2, decay_rates)
        state = _advance(state, x3, step3, b3, decay_rates)
        summed += step0 + step1 + step2 + step3
    tl.store(last + row * N * E + tile, state, mask=tile_mask)
    tl.store(total + row * E + e, summed, mask=e_mask)


@triton.jit
def _follow(decay, state, later_decay, later_state):
    """Join two stretches of steps, each given by the decay of the state before it and by what it adds."""
    return decay * later_decay, state * later_decay + later_state


@triton.jit
def carry(
    own, total, A, starts, E, N, chunks, blocks,
    REVERSE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Pass 2: from each chunk's own last state the state each starts from (in reverse: the adjoint each ends with).

    A program takes COLUMNS of the N x E states through all chunks, ROWS chunks at a time by a parallel scan.
    """
    program = tl.program_id(0)
    batch = (program // blocks).to(tl.int64)
    column = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < N * E
    e = column % E
    rates = tl.load(A + e * N + column // E, mask=inside, other=0.0).to(tl.float32) * _LOG2E
    i = tl.arange(0, ROWS)
    state = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, chunks, ROWS):
        number = first + i
        chunk = chunks - 1 - number if REVERSE else number
        earlier = chunk + 1 if REVERSE else chunk - 1
        mask = (number < chunks)[:, None] & inside[None, :]
        has_earlier = mask & (number > 0)[:, None]
        before = batch * chunks + earlier
        steps = tl.load(total + before[:, None] * E + e[None, :], mask=has_earlier, other=0.0)
        added = tl.load(own + before[:, None] * N * E + column[None, :], mask=has_earlier, other=0.0)
        left, added = tl.associative_scan((tl.exp2(steps * rates[None, :]), added), 0, _follow)
        here = left * state[None, :] + added
        row = batch * chunks + chunk
        tl.store(starts + row[:, None] * N * E + column[None, :], here, mask=mask)
        state = tl.sum(tl.where((i == ROWS - 1)[:, None], here, 0.0), axis=0)


@triton.jit
def chunk_outputs(
    u, delta, bias, A, B, C, D, z, starts, y,
    L, E, N, chunks, blocks,
    HAS_BIAS: tl.constexpr, HAS_D: tl.constexpr, HAS_Z: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_E: tl.constexpr,
):  # fmt: skip
    """Forward pass 3: a chunk's outputs, with skip and gate, from the state that it starts from."""
    row, batch, chunk, block = _where_am_i(chunks, blocks)
    e = block * BLOCK_E + tl.arange(0, BLOCK_E)
    n = tl.arange(0, BLOCK_N)
    e_mask = e < E
    n_mask = n < N
    tile = n[:, None] * E + e[None, :]
    tile_mask = n_mask[:, None] & e_mask[None, :]
    decay_rates = _load_rates(A, e, n, N, tile_mask)
    offset = _load_vector(bias, e, e_mask, HAS_BIAS)
    skip = _load_vector(D, e, e_mask, HAS_D)
    state = tl.load(starts + row * N * E + tile, mask=tile_mask, other=0.0)
    for group in range(CHUNK // 4):
        t = chunk * CHUNK + group * 4
        at = batch * L + t
        x0, _, step0, b0 = _read_drive(u, delta, offset, B, at, t < L, E, N, e, n, e_mask, n_mask)
        x1, _, step1, b1 = _read_drive(u, delta, offset, B, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask)
        x2, _, step2, b2 = _read_drive(u, delta, offset, B, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask)
        x3, _, step3, b3 = _read_drive(u, delta, offset, B, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask)
        gate0, c0 = _read_outlet(z, C, at, t < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        gate1, c1 = _read_outlet(z, C, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        gate2, c2 = _read_outlet(z, C, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        gate3, c3 = _read_outlet(z, C, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        s0 = _advance(state, x0, step0, b0, decay_rates)
        s1 = _advance(s0, x1, step1, b1, decay_rates)
        s2 = _advance(s1, x2, step2, b2, decay_rates)
        state = _advance(s2, x3, step3, b3, decay_rates)
        out = y + at * E + e
        tl.store(out, _output(s0, x0, c0, gate0, skip, HAS_Z), mask=e_mask & (t < L))
        tl.store(out + E, _output(s1, x1, c1, gate1, skip, HAS_Z), mask=e_mask & (t + 1 < L))
        tl.store(out + 2 * E, _output(s2, x2, c2, gate2, skip, HAS_Z), mask=e_mask & (t + 2 < L))
        tl.store(out + 3 * E, _output(state, x3, c3, gate3, skip, HAS_Z), mask=e_mask & (t + 3 < L))


@triton.jit
def _retreat(adjoint, step, incoming, gate, read, rates, HAS_Z: tl.constexpr):
    """Adjoint of the state before one step from that of the state after it."""
    if HAS_Z:
        incoming *= gate * _sigmoid(gate)
    return tl.exp2(step[None, :] * rates) * (adjoint + incoming[None, :] * read[:, None])


@triton.jit
def chunk_adjoints(
    grad, delta, bias, A, C, z, head,
    L, E, N, chunks, blocks,
    HAS_BIAS: tl.constexpr, HAS_Z: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_E: tl.constexpr,
):  # fmt: skip
    """Backward pass 1: a chunk's own part of the adjoint of the state before its first step."""
    row, batch, chunk, block = _where_am_i(chunks, blocks)
    e = block * BLOCK_E + tl.arange(0, BLOCK_E)
    n = tl.arange(0, BLOCK_N)
    e_mask = e < E
    n_mask = n < N
    tile = n[:, None] * E + e[None, :]
    tile_mask = n_mask[:, None] & e_mask[None, :]
    decay_rates = _load_rates(A, e, n, N, tile_mask)
    offset = _load_vector(bias, e, e_mask, HAS_BIAS)
    adjoint = tl.zeros((BLOCK_N, BLOCK_E), tl.float32)
    for i in range(CHUNK // 4):
        t = chunk * CHUNK + CHUNK - 4 * (i + 1)
        at = batch * L + t
        _, step0 = _read_step(delta, offset, at, e, E, e_mask, t < L)
        _, step1 = _read_step(delta, offset, at + 1, e, E, e_mask, t + 1 < L)
        _, step2 = _read_step(delta, offset, at + 2, e, E, e_mask, t + 2 < L)
        _, step3 = _read_step(delta, offset, at + 3, e, E, e_mask, t + 3 < L)
        in0, gate0, c0 = _read_demand(grad, z, C, at, t < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in1, gate1, c1 = _read_demand(grad, z, C, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in2, gate2, c2 = _read_demand(grad, z, C, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in3, gate3, c3 = _read_demand(grad, z, C, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        adjoint = _retreat(adjoint, step3, in3, gate3, c3, decay_rates, HAS_Z)
        adjoint = _retreat(adjoint, step2, in2, gate2, c2, decay_rates, HAS_Z)
        adjoint = _retreat(adjoint, step1, in1, gate1, c1, decay_rates, HAS_Z)
        adjoint = _retreat(adjoint, step0, in0, gate0, c0, decay_rates, HAS_Z)
    tl.store(head + row * N * E + tile, adjoint, mask=tile_mask)


@triton.jit
def _back_one(
    before, after, adjoint, d_rates, d_skip, d_offset, decay_rates, skip,
    x, raw, step, weights, incoming, gate, read,
    d_u, d_delta, d_z, d_B, d_C, partial, index, inside, E, N, e, n, e_mask, n_mask,
    HAS_Z: tl.constexpr,
):  # fmt: skip
    """Take one step backward, given the states before and after it, and store its row of each gradient."""
    if HAS_Z:
        opened = _sigmoid(gate)
        ungated = tl.sum(after * read[:, None], axis=0) + skip * x
        slope = opened * (1.0 + gate * (1.0 - opened))
        tl.store(d_z + index * E + e, incoming * ungated * slope, mask=e_mask & inside)
        incoming *= gate * opened
    # the sums over channels pass through shared memory, where each thread writes the same copy of them
    tl.store(d_C + (partial + index) * N + n, tl.sum(incoming[None, :] * after, axis=1), mask=n_mask & inside)
    adjoint += incoming[None, :] * read[:, None]
    drive = step * x
    tl.store(d_B + (partial + index) * N + n, tl.sum(adjoint * drive[None, :], axis=1), mask=n_mask & inside)
    d_drive = tl.sum(adjoint * weights[:, None], axis=0)
    adjoint *= tl.exp2(step[None, :] * decay_rates)
    through_decay = adjoint * before
    d_step = tl.sum(through_decay * decay_rates, axis=0) * _LN2 + d_drive * x
    d_raw = tl.where(inside, d_step * _sigmoid(raw), 0.0)
    tl.store(d_delta + index * E + e, d_raw, mask=e_mask & inside)
    tl.store(d_u + index * E + e, d_drive * step + incoming * skip, mask=e_mask & inside)
    d_rates += through_decay * step[None, :]
    return adjoint, d_rates, d_skip + incoming * x, d_offset + d_raw


@triton.jit
def chunk_gradients(
    grad, u, delta, bias, A, B, C, D, z, starts, adjoints, scratch,
    d_u, d_delta, d_z, d_B, d_C, d_shared,
    L, E, N, chunks, blocks, batches,
    HAS_BIAS: tl.constexpr, HAS_D: tl.constexpr, HAS_Z: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_E: tl.constexpr,
):  # fmt: skip
    """Backward pass 3: all gradients of a chunk, from its starting state and the adjoint at its end.

    `scratch` (batch, chunks, CHUNK / 4, N, E) keeps the state before each group of four steps; the states between
    are recomputed. Sums over channels and chunks are left in parts for the caller to add, which makes them
    deterministic: d_B, d_C (channel blocks, batch, L, N); d_shared (batch, chunks, N + 2, E), the parts of A's
    gradient and below them, where they are given, D's and the bias's.
    """
    row, batch, chunk, block = _where_am_i(chunks, blocks)
    e = block * BLOCK_E + tl.arange(0, BLOCK_E)
    n = tl.arange(0, BLOCK_N)
    e_mask = e < E
    n_mask = n < N
    tile = n[:, None] * E + e[None, :]
    tile_mask = n_mask[:, None] & e_mask[None, :]
    decay_rates = _load_rates(A, e, n, N, tile_mask)
    offset = _load_vector(bias, e, e_mask, HAS_BIAS)
    skip = _load_vector(D, e, e_mask, HAS_D)
    first = batch * L
    GROUPS: tl.constexpr = CHUNK // 4

    state = tl.load(starts + row * N * E + tile, mask=tile_mask, other=0.0)
    for group in range(GROUPS):
        tl.store(scratch + (row * GROUPS + group) * N * E + tile, state, mask=tile_mask)
        for i in tl.static_range(4):
            t = chunk * CHUNK + group * 4 + i
            x, _, step, weights = _read_drive(
                u, delta, offset, B, first + t, t < L, E, N, e, n, e_mask, n_mask
            )  # fmt: skip
            state = _advance(state, x, step, weights, decay_rates)
    tl.debug_barrier()  # the threads that read the scratch below need not be those that wrote it

    partial = block.to(tl.int64) * batches * L
    adjoint = tl.load(adjoints + row * N * E + tile, mask=tile_mask, other=0.0)
    sum_A = tl.zeros((BLOCK_N, BLOCK_E), tl.float32)
    sum_D = tl.zeros((BLOCK_E,), tl.float32)
    sum_bias = tl.zeros((BLOCK_E,), tl.float32)
    for i in range(GROUPS):
        group = GROUPS - 1 - i
        t = chunk * CHUNK + group * 4
        at = first + t
        # all loads first: a load after a store waits for it
        s0 = tl.load(scratch + (row * GROUPS + group) * N * E + tile, mask=tile_mask, other=0.0)
        x0, raw0, step0, b0 = _read_drive(u, delta, offset, B, at, t < L, E, N, e, n, e_mask, n_mask)
        x1, raw1, step1, b1 = _read_drive(u, delta, offset, B, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask)
        x2, raw2, step2, b2 = _read_drive(u, delta, offset, B, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask)
        x3, raw3, step3, b3 = _read_drive(u, delta, offset, B, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask)
        in0, gate0, c0 = _read_demand(grad, z, C, at, t < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in1, gate1, c1 = _read_demand(grad, z, C, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in2, gate2, c2 = _read_demand(grad, z, C, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        in3, gate3, c3 = _read_demand(grad, z, C, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask, HAS_Z)
        s1 = _advance(s0, x0, step0, b0, decay_rates)
        s2 = _advance(s1, x1, step1, b1, decay_rates)
        s3 = _advance(s2, x2, step2, b2, decay_rates)
        s4 = _advance(s3, x3, step3, b3, decay_rates)
        adjoint, sum_A, sum_D, sum_bias = _back_one(
            s3, s4, adjoint, sum_A, sum_D, sum_bias, decay_rates, skip,
            x3, raw3, step3, b3, in3, gate3, c3,
            d_u, d_delta, d_z, d_B, d_C, partial, at + 3, t + 3 < L, E, N, e, n, e_mask, n_mask, HAS_Z,
        )  # fmt: skip
        adjoint, sum_A, sum_D, sum_bias = _back_one(
            s2, s3, adjoint, sum_A, sum_D, sum_bias, decay_rates, skip,
            x2, raw2, step2, b2, in2, gate2, c2,
            d_u, d_delta, d_z, d_B, d_C, partial, at + 2, t + 2 < L, E, N, e, n, e_mask, n_mask, HAS_Z,
        )  # fmt: skip
        adjoint, sum_A, sum_D, sum_bias = _back_one(
            s1, s2, adjoint, sum_A, sum_D, sum_bias, decay_rates, skip,
            x1, raw1, step1, b1, in1, gate1, c1,
            d_u, d_delta, d_z, d_B, d_C, partial, at + 1, t + 1 < L, E, N, e, n, e_mask, n_mask, HAS_Z,
        )  # fmt: skip
        adjoint, sum_A, sum_D, sum_bias = _back_one(
            s0, s1, adjoint, sum_A, sum_D, sum_bias, decay_rates, skip,
            x0, raw0, step0, b0, in0, gate0, c0,
            d_u, d_delta, d_z, d_B, d_C, partial, at, t < L, E, N, e, n, e_mask, n_mask, HAS_Z,
        )  # fmt: skip
    own_part = d_shared + row * (N + 2) * E
    tl.store(own_part + tile, sum_A, mask=tile_mask)
    if HAS_D:
        tl.store(own_part + N * E + e, sum_D, mask=e_mask)
    if HAS_BIAS:
        tl.store(own_part + (N + 1) * E + e, sum_bias, mask=e_mask)
