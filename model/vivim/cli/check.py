"""``vivim check SESSION...``: compare the masks of sessions with their ledgers, and mend them.

``--mend`` keeps what may be damaged as a person's. The exit code is 0 if all sessions are whole then, else 1.
"""

import argparse
from pathlib import Path
from typing import Any

from vivim.cli.options import say
from vivim.errors import BatchError, VivimError

NAMED = 20
"""Frames of a session that are told one by one; the JSON has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sessions", nargs="+", metavar="SESSION", type=Path, help="session folders, or their videos"
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="keep what is in doubt as a person's, so that no model writes over it, and set damaged lines of the "
        "ledger aside; without it sessions are only read",
    )


def run(args: argparse.Namespace) -> dict:
    """Check all. One that cannot be opened does not stop the others."""
    found = [_checked(path, args.mend) for path in args.sessions]
    result = {"sessions": found}
    wrong = [one for one in found if not (one["whole"] or one["mended"])]
    if wrong:
        failed = [one for one in wrong if "error" in one]
        reasons = " ".join(f"{one['session']}: {one['error']}" for one in failed)
        damaged = len(wrong) - len(failed)
        text = f"{damaged} of {len(found)} sessions are damaged. --mend keeps what is in doubt as a person's."
        raise BatchError(" ".join(filter(None, (reasons, text if damaged else ""))), result)
    return result


def _checked(path: Path, mend: bool) -> dict[str, Any]:
    """Check one session, print what is found, and mend it if asked to."""
    from vivim.cli.progress import Progress
    from vivim.session import Session

    try:
        with (
            Session.open(path, read_only=not mend) as session,
            Progress(f"{path.name}: comparing") as progress,
        ):
            ledger, kept = session.ledger_damage, session.ledger_kept_in
            for one in session.check():
                progress(one.done, one.total)
            damage = session.damage
            whole = not (ledger or damage)
            if mend and not whole:
                session.mend()
                kept = session.ledger_kept_in
            frames = len(session)
    except VivimError as error:
        say(f"{path}: {error}")
        return {"session": str(path), "whole": False, "mended": False, "error": str(error)}
    _print(path, frames, ledger, damage, mend)
    return {
        "session": str(path),
        "frames": frames,
        "whole": whole,
        "mended": mend and not whole,
        "ledger": ledger,
        "ledger_kept_in": None if kept is None else str(kept),
        "damaged": [{"frame": t, "problem": problem} for t, problem in damage.items()],
    }


def _print(path: Path, frames: int, ledger: list[str], damage: dict[int, str], mend: bool) -> None:
    if not (ledger or damage):
        print(f"{path}: whole, {frames} frames")
        return
    print(f"{path}: {len(damage)} of {frames} frames are damaged" + ("; kept as a person's" if mend else ""))
    for text in ledger:
        print(f"  {text}.")
    for t, problem in list(damage.items())[:NAMED]:
        print(f"  Frame {t}: {problem}.")
    if len(damage) > NAMED:
        print(f"  And {len(damage) - NAMED} more; --json names all.")
