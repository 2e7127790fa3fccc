"""The split of CVC-612 that the results page is measured on."""

import tomllib
from pathlib import Path

import pytest
from vivim.training.datasets import find_clips

SPLIT = Path(__file__).parents[3] / "benchmarks" / "cvc612.toml"


@pytest.fixture
def parts() -> dict[str, list[str]]:
    return tomllib.loads(SPLIT.read_text(encoding="utf-8"))["parts"]


def test_the_parts_of_the_split_are_the_published_ones_and_disjoint(parts):
    assert parts["V"] == ["03", "04", "05", "12", "16", "18"]
    assert parts["T"] == ["01", "07", "08", "17"]
    named = [name for names in parts.values() for name in names]
    assert len(set(named)) == len(named)


def test_every_sequence_of_the_split_is_a_folder_and_others_are_left_to_train_on(parts, vivim_data):
    held = {name for names in parts.values() for name in names}
    folders = find_clips(vivim_data / "polyp_cvc_clinicdb")
    left = {folder.name for folder in find_clips(vivim_data / "polyp_cvc_clinicdb", leave_out=tuple(held))}
    assert held <= {folder.name for folder in folders}
    assert left.isdisjoint(held)
    assert len(left) == len(folders) - len(held) > 0
