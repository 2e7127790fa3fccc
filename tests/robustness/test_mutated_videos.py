"""Damaged and forged videos are read or refused, and nothing worse."""

from __future__ import annotations

import mutate_videos
import pytest

COPIES = 100
"""Of one test, so that several processes may share the thousand."""


def check(count: int, seed: int, first: int = 0) -> None:
    result = mutate_videos.run(count, seed, print, first)
    assert result["wrong"] == []
    assert result["read"] + result["refused"] == count and result["refused"] > count / 5


def test_damaged_videos_are_read_or_refused() -> None:
    check(40, seed=11)


@pytest.mark.robustness
@pytest.mark.parametrize("first", range(0, 1000, COPIES))
def test_a_thousand_damaged_videos_are_read_or_refused(first: int) -> None:
    check(COPIES, seed=0, first=first)
