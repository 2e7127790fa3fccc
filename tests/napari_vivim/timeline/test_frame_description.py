"""What hovering over a frame says, from numbers alone."""

from __future__ import annotations

from math import nan

from napari_vivim.timeline.timeline_widget import shape_change, uncertainty


def test_how_unsure_the_model_was_is_said_in_words() -> None:
    said = [uncertainty(total, 0.0, 0.3) for total in (0.05, 0.15, 0.25, 0.3)]
    assert said == [[f"model unsure: {level}"] for level in ("low", "medium", "high", "high")]


def test_windows_that_disagree_are_named_where_they_count() -> None:
    assert "disagree" in uncertainty(0.3, 0.2, 0.3)[0] and "disagree" not in uncertainty(0.3, 0.1, 0.3)[0]
    assert uncertainty(0.3, nan, 0.3) == ["model unsure: high"]  # an older session


def test_nothing_is_said_where_nothing_was_proposed() -> None:
    assert uncertainty(nan, nan, 0.3) == [] and shape_change(nan, False) == ""


def test_a_jump_is_called_one() -> None:
    assert shape_change(0.45, True).startswith("shape jumps: 45")
    assert shape_change(0.04, False) == "shape: 4% unlike the frame before"
