"""Values for JSON, and from it: these are checked against types, since files may be damaged and messages forged."""

import math
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

LARGEST_INT, LARGEST_FLOAT = 2**31, 2.0**53
"""Numbers from here on count as damaged."""


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from `json.loads` is of a type.

    Types are ``str``, ``bool``, ``int`` (not negative), ``float`` (any finite number), a union of them and None, or a
    list, tuple or dict of such. JSON has lists for tuples.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(fits(value, part) for part in parts)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(key, parts[0]) and fits(one, parts[1]) for key, one in value.items()
        )
    if origin is tuple and parts[-1] is not ...:
        return isinstance(value, list) and len(value) == len(parts) and all(map(fits, value, parts))
    if origin in (list, tuple):
        return isinstance(value, list) and all(fits(one, parts[0]) for one in value)
    if kind is int:
        return type(value) is int and 0 <= value < LARGEST_INT
    if kind is float:
        return type(value) in (int, float) and abs(value) < LARGEST_FLOAT
    return isinstance(value, kind)


def fits_fields(values: dict[str, Any], declared: type) -> bool:
    """Whether every value, by name, is of the type that a dataclass declares for it."""
    kinds = get_type_hints(declared)
    return all(name in kinds and fits(value, kinds[name]) for name, value in values.items())


def as_json(value: Any, digits: int | None = None) -> Any:
    """Return a value as JSON can hold it: lists for tuples, None for numbers that are not finite, others rounded."""
    if isinstance(value, dict):
        return {key: as_json(one, digits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one, digits) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else round(float(value), digits)
