"""Pictures that are kept out of training, by the committed list ``validation.toml``."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

LIST = Path(__file__).with_name("validation.toml")

Part = Literal["all", "training", "kept out"]
"""Which pictures of a data set are wanted."""


@cache
def _rules() -> dict[str, dict[str, Any]]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def kept_out(clip: Path, stems: Sequence[str]) -> list[bool]:
    """Tell which pictures of a clip are kept out, from its folder and the names of all, without endings, in order.

    The data set is the folder's own name, or that of the folder it is in.
    """
    names = (clip.absolute().name, clip.absolute().parent.name)
    rule = next((_rules()[name] for name in names if name in _rules()), {})
    if clip.absolute().name in rule.get("clips", ()):
        return [True] * len(stems)
    out = (
        [number % rule["every"] == 0 for number in range(len(stems))]
        if "every" in rule
        else [False] * len(stems)
    )
    last = rule.get("last", 0)
    for group, count in last.items() if isinstance(last, dict) else [("", last)]:
        members = [n for n, stem in enumerate(stems) if not group or stem.split("_")[0] == group]
        for number in members[len(members) - count :] if count else []:
            out[number] = True
    return out


def wanted(clip: Path, stems: Sequence[str], part: Part) -> list[bool]:
    """Tell which pictures of a clip belong to a part of its data set, see `kept_out`."""
    if part == "all":
        return [True] * len(stems)
    return [out == (part == "kept out") for out in kept_out(clip, stems)]
