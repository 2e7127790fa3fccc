"""Compiled loops of `fused_ops`.

Arrays are C-contiguous float32 with channels last. A kernel releases the GIL.
"""

import numpy as np

from vivim.scan.cpu.simd import COUNT, aligned, gelu, kernel, load, part, relu, spread, store, total

_ZERO = np.float32(0.0)


@part
def _add_plane(x, taps, k, image, row, j, sums):
    """Add the 3x3 convolution of one image at one row, channels from j on, to sums (w, COUNT).

    `taps` (times, 9, channels) is read at time k. Neighbours outside the image count as zero: for a row that is not
    there the row itself is read, with weights of zero.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    o = k * 9 * channels + j
    a0, a1, a2 = load(taps, o), load(taps, o + channels), load(taps, o + 2 * channels)
    b0, b1, b2 = load(taps, o + 3 * channels), load(taps, o + 4 * channels), load(taps, o + 5 * channels)
    c0, c1, c2 = load(taps, o + 6 * channels), load(taps, o + 7 * channels), load(taps, o + 8 * channels)
    nothing = spread(_ZERO)
    line = width * channels
    q = (image * height + row) * line + j
    p, r = q - line, q + line
    if row == 0:
        p = q
        a0, a1, a2 = nothing, nothing, nothing
    if row == height - 1:
        r = q
        c0, c1, c2 = nothing, nothing, nothing
    left_a, left_b, left_c = nothing, nothing, nothing
    here_a, here_b, here_c = load(x, p), load(x, q), load(x, r)
    for column in range(width):
        value = load(sums, column * COUNT) + left_a * a0 + here_a * a1
        value = value + left_b * b0 + here_b * b1 + left_c * c0 + here_c * c1
        left_a, left_b, left_c = here_a, here_b, here_c
        if column + 1 < width:
            p += channels
            q += channels
            r += channels
            here_a, here_b, here_c = load(x, p), load(x, q), load(x, r)
            value = value + here_a * a2 + here_b * b2 + here_c * c2
        store(sums, column * COUNT, value)


@kernel
def depthwise_gelu(x, taps, bias, frames, y, first, last):
    """Write rows ``first..last``, counted over all images, of GELU of the convolution of x (n, h, w, channels)."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    times = taps.shape[0]
    sums = aligned(width * COUNT)
    for i in range(first, last):
        image, row = i // height, i % height
        t = image % frames
        for j in range(0, channels, COUNT):
            start = load(bias, j)
            for column in range(width):
                store(sums, column * COUNT, start)
            for k in range(times):
                shift = k - times // 2
                if 0 <= t + shift < frames:
                    _add_plane(x, taps, k, image + shift, row, j, sums)
            for column in range(width):
                store(y, (i * width + column) * channels + j, gelu(load(sums, column * COUNT)))


@part
def _blend_rows(coarse, image, row, height, blended):
    """Interpolate a coarse image (n, h, w, width) between two of its rows, for a row of a grid of `height` rows."""
    rows = coarse.shape[1]
    size = coarse.shape[2] * coarse.shape[3]
    at = max((row + 0.5) * rows / height - 0.5, 0.0)
    above = int(at)
    below = min(above + 1, rows - 1)
    share = np.float32(at - above)
    a, b = (image * rows + above) * size, (image * rows + below) * size
    for o in range(0, size, COUNT):
        value = load(coarse, a + o)
        store(blended, o, value + (load(coarse, b + o) - value) * share)


@part
def _add_between(blended, columns, column, width, size, mixed):
    """Add a blended row, interpolated between its columns at a column of a grid of `width`, to mixed (size,)."""
    at = max((column + 0.5) * columns / width - 0.5, 0.0)
    left = int(at)
    right = min(left + 1, columns - 1)
    share = np.float32(at - left)
    a, b = left * size, right * size
    for o in range(0, size, COUNT):
        value = load(blended, a + o)
        store(mixed, o, load(mixed, o) + value + (load(blended, b + o) - value) * share)


@kernel
def mix_and_classify(fine, middle, coarse, coarsest, weight, bias, logits, first, last):
    """Add four features upsampled to the finest grid, ReLU, then a linear layer.

    fine, middle, coarse, coarsest (n, h_i, w_i, width); weight (classes, width); bias (classes,). Writes rows
    ``first..last``, counted over all images, of logits (n, h, w, classes).
    """
    height, columns, size = fine.shape[1], fine.shape[2], fine.shape[3]
    rows_1, rows_2, rows_3 = (
        aligned(middle.shape[2] * size), aligned(coarse.shape[2] * size), aligned(coarsest.shape[2] * size)
    )  # fmt: skip
    mixed = aligned(size)
    for i in range(first, last):
        image, row = i // height, i % height
        _blend_rows(middle, image, row, height, rows_1)
        _blend_rows(coarse, image, row, height, rows_2)
        _blend_rows(coarsest, image, row, height, rows_3)
        for column in range(columns):
            for o in range(0, size, COUNT):
                store(mixed, o, load(fine, (i * columns + column) * size + o))
            _add_between(rows_1, middle.shape[2], column, columns, size, mixed)
            _add_between(rows_2, coarse.shape[2], column, columns, size, mixed)
            _add_between(rows_3, coarsest.shape[2], column, columns, size, mixed)
            for c in range(weight.shape[0]):
                value = spread(_ZERO)
                for o in range(0, size, COUNT):
                    value = value + relu(load(mixed, o)) * load(weight, c * size + o)
                logits[image, row, column, c] = total(value) + bias[c]
