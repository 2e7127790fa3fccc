"""Recipes as TOML files: those of the package by name, or a person's own.

A recipe holds fields of `TrainConfig`; ``network`` is a table of fields of `VivimConfig`, ``phases`` a list of tables.
``clips`` and ``stills`` are lists of tables of fields of `vivim.training.sources.Source`. ``base`` names a recipe that
this one changes.
"""

import tomllib
from pathlib import Path
from typing import Any

from vivim.errors import VivimError, did_you_mean
from vivim.network import VivimConfig
from vivim.training.config import Phase, TrainConfig
from vivim.training.sources import Source

FOLDER = Path(__file__).with_name("recipes")


def recipe_names() -> list[str]:
    """Names of the package's recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def default_recipe(size: str, device: str) -> str:
    """Name the recipe of a network size: the paper's for all but b0, which has one for GPUs and one for CPUs."""
    if size != "b0":
        return "paper"
    return "b0-cpu" if device == "cpu" else "b0"


def read_recipe(name: str) -> dict[str, Any]:
    """Read the values of a recipe, on top of those of its base."""
    path = FOLDER / f"{name}.toml" if name in recipe_names() else Path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = recipe_names()
        hint = did_you_mean(name, known)
        raise VivimError(
            f"There is no recipe {name}: give a TOML file, or one of {', '.join(known)}.{hint}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VivimError(f"{path} is no TOML file: {error}") from error
    base = values.pop("base", None)
    return merged(read_recipe(base), values) if base else values


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge the values of `above` into those of `below`, and the table ``network`` field by field."""
    network = {**below.get("network", {}), **above.get("network", {})}
    return {**below, **above, "network": network}


def to_config(values: dict[str, Any]) -> TrainConfig:
    """Make a checked recipe from plain values."""
    try:
        given = {**values, "network": VivimConfig(**values.get("network", {}))}
        if "phases" in given:
            given["phases"] = tuple(_phase(phase) for phase in given["phases"])
        for name in ("clips", "stills"):
            given[name] = tuple(Source(**fields) for fields in given.get(name, ()))
        if "betas" in given:
            given["betas"] = tuple(given["betas"])
        return TrainConfig(**given)
    except (TypeError, ValueError) as error:
        raise VivimError(f"The recipe cannot be used: {error}") from error


def _phase(values: dict[str, Any]) -> Phase:
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Phase(**{**values, **lists})
