"""Names of the classes 1 and up of a session's masks: given by a person, or taken over from a model."""

from __future__ import annotations

from collections.abc import Sequence

from vivim.errors import SessionError
from vivim.session.description import UNNAMED


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, if classes can be called so.

    Raises
    ------
    ValueError
        If there is none, one is empty, or two are alike.
    """
    if not names or not all(name.strip() for name in names) or len(set(names)) != len(names):
        raise ValueError(f"Classes need names that differ, not {list(names)}.")
    return tuple(names)


def agreed(have: tuple[str, ...], names: tuple[str, ...], drawn: bool) -> tuple[str, ...]:
    """Names of a session's classes once a model proposes.

    Names that are there stay, more are added, and a model of one class outlines class 1, whatever its name.

    Parameters
    ----------
    have : tuple of str
        The session's names.
    names : tuple of str
        The model's names.
    drawn : bool
        Whether a person has drawn or accepted masks; if not, the model's names take the place of others.

    Raises
    ------
    SessionError
        If what is drawn has other names.
    """
    if names == have[: len(names)] or (len(names) == 1 and have != UNNAMED):
        return have
    if drawn and have != UNNAMED and names[: len(have)] != have:
        raise SessionError(
            f"These masks are of {', '.join(have)}, but the model finds {', '.join(names)}. Choose another model, or "
            "another session folder for this one."
        )
    return names
