"""The time left of a job."""

from __future__ import annotations

import pytest
from vivim.utils.time_left import TimeLeft, clock


def test_the_rest_takes_as_long_as_what_was_done() -> None:
    now = [100.0]
    left = TimeLeft(lambda: now[0])
    assert left(0, 10) is None
    now[0] += 6
    assert left(2, 10) == pytest.approx(24) and left(10, 10) == 0
    now[0] += 100
    left.restart(done=4)
    assert left(4, 10) is None
    now[0] += 5
    assert left(5, 10) == pytest.approx(25)


def test_durations_for_people() -> None:
    assert [clock(seconds) for seconds in (0.4, 83.4, 3723)] == ["0:00", "1:23", "1:02:03"]
