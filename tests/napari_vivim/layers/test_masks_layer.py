"""The outlines of the masks layer are those of napari."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_vivim.layers.masks_layer import MasksLayer


@pytest.mark.parametrize("contour", [0, 1, 3])
@pytest.mark.parametrize(
    "part",
    [(slice(0, 60), slice(0, 80)), (slice(20, 41), slice(30, 35)), (slice(0, 5), slice(70, 80))],
    ids=["all", "inside", "corner"],
)
def test_outlines_are_those_of_napari(contour: int, part: tuple[slice, slice]) -> None:
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 4, (6, 8)), np.ones((10, 10), int)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.02] = 200
    ours = MasksLayer(mask[None], lambda data: None)
    plain = Labels(mask[None])
    ours.contour = plain.contour = contour
    before = mask.copy()
    wanted, found = (layer._calculate_contour(mask, part) for layer in (plain, ours))
    np.testing.assert_array_equal(mask, before)
    if not contour:
        assert found is None and wanted is None
        return
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype and found.any()
