"""How long a job will still take."""

from __future__ import annotations

from vivim.utils.time_left import TimeLeft


def test_the_pace_is_that_of_the_steps_after_the_first_call() -> None:
    left = TimeLeft(iter([10.0, 12.0, 16.0]).__next__)
    assert left.after(3, 10) is None  # what came before took an unknown time
    assert left.after(4, 10) == 12.0
    assert left.after(6, 10) == 8.0


def test_nothing_is_left_at_the_end() -> None:
    left = TimeLeft(iter([0.0, 1.0]).__next__)
    assert left.after(1, 2) is None and left.after(2, 2) == 0.0
