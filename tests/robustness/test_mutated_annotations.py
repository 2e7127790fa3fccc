"""Damaged annotation files are read or refused, and nothing worse: no crash, no empty mask, no silence."""

from __future__ import annotations

import mutate_annotations
import pytest

COPIES = 250
"""Of one test, so that several processes may share the thousand."""


def check(count: int, seed: int, kind: str, first: int = 0) -> None:
    if "nrrd" in kind:
        pytest.importorskip("nrrd", reason="pynrrd is not installed: make brings it")
    result = mutate_annotations.run(count, seed, kind, first)
    assert result["wrong"] == []
    assert result["read"] + result["refused"] == count and result["refused"] > count / 5


@pytest.mark.parametrize("kind", mutate_annotations.WRITERS)
def test_damaged_annotations_are_read_or_refused(kind: str) -> None:
    check(8, 3, kind)


@pytest.mark.robustness
@pytest.mark.parametrize("first", range(0, 1000, COPIES))
@pytest.mark.parametrize("kind", mutate_annotations.WRITERS)
def test_a_thousand_damaged_annotations_of_each_kind_are_read_or_refused(kind: str, first: int) -> None:
    check(COPIES, 0, kind, first)
