"""What hovering over a frame says, from numbers alone."""

from __future__ import annotations

from math import nan

from napari_vivim.timeline.timeline_widget import shape_change, uncertainties


def test_the_parts_of_the_uncertainty_are_named() -> None:
    assert uncertainties(0.31, 0.05) == ["outline unclear: 0.26 bits", "windows disagree: 0.05 more"]


def test_nothing_is_said_of_windows_that_did_not_overlap() -> None:
    assert uncertainties(0.31, 0.0) == ["outline unclear: 0.31 bits"]


def test_of_an_older_session_only_the_sum_is_known() -> None:
    assert uncertainties(0.31, nan) == ["model unsure: 0.31 bits in all"]


def test_nothing_is_said_where_nothing_was_proposed() -> None:
    assert uncertainties(nan, nan) == [] and shape_change(nan, False) == ""


def test_a_jump_is_called_one() -> None:
    assert shape_change(0.45, True).startswith("shape jumps: 45")
    assert shape_change(0.04, False) == "shape: 4% unlike the frame before"
