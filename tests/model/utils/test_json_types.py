"""Values from JSON are of the types they are taken for."""

import json
from dataclasses import dataclass

import pytest
from vivim.utils.json_types import fits, fits_fields


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('"a"', str), ("true", bool), ("3", int), ("-0.5", float), ("3", float), ("null", str | None),
        ('[["a", 1], ["b", 2]]', list[tuple[str, int]]), ("[[1, 0.5]]", tuple[tuple[int, float], ...]),
        ("[]", list[str]), ('{"a": {"b": ["c"]}}', dict[str, dict[str, list[str]]]),
    ],
)  # fmt: skip
def test_what_is_of_its_type(text: str, kind: object) -> None:
    assert fits(json.loads(text), kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3", str), ("true", int), ("-1", int), (str(2**31), int), ("1.0", int), ("NaN", float), ("Infinity", float),
        ("1" + "0" * 400, float), ("true", float), ("null", str), ('[["a"]]', list[tuple[str, int]]),
        ('"ab"', list[str]),
        ('{"a": 1}', dict[str, str]), ('["a"]', dict[str, str]), ("[1]", list[str]), ("1", bool),
    ],
)  # fmt: skip
def test_what_is_not(text: str, kind: object) -> None:
    assert not fits(json.loads(text), kind)


@dataclass
class Declared:
    name: str
    sizes: tuple[int, ...] = ()


def test_fields_of_a_dataclass() -> None:
    assert fits_fields({"name": "a", "sizes": [1, 2]}, Declared)
    assert fits_fields({"name": "a"}, Declared), "a missing one is the reader's matter"
    assert not fits_fields({"name": 1}, Declared)
    assert not fits_fields({"name": "a", "other": 1}, Declared)
