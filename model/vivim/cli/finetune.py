"""``vivim finetune SESSION... -o NAME``: learn from corrected frames, into a new version in the registry."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.cli.options import add_device, add_model, say
from vivim.registry.registry import checked_name, load_model

if TYPE_CHECKING:
    from vivim.finetuning.events import Finished, PassedOver


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sessions", nargs="+", metavar="SESSION", type=Path, help="session folders, or their videos"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="NAME",
        help="name of the new version; a taken one gets a number",
    )
    add_model(parser)
    parser.add_argument(
        "--scope", choices=["decoder", "last-stage", "all"], default="decoder", help="what is trained"
    )
    add_device(parser, remote=True)
    parser.add_argument("--seed", type=int, default=0, help="seeds the order of samples (default: 0)")


def run(args: argparse.Namespace) -> dict:
    """Fine-tune. Ctrl-C stops it and leaves every model as it was."""
    from vivim.api import finetune
    from vivim.cli.progress import Progress
    from vivim.finetuning.events import Finished, PassedOver, Preparing, Scored, Step, Waiting
    from vivim.session import Session
    from vivim.session.damage_check import damage_text

    name = checked_name(args.output)
    model = load_model(args.model)
    frames, damaged = 0, dict[str, list[int]]()
    result: Finished | None = None
    with ExitStack() as stack:
        sessions = [stack.enter_context(Session.open(path, read_only=True)) for path in args.sessions]
        events = finetune(sessions, model, scope=args.scope, name=name, device=args.device, seed=args.seed)
        progress = stack.enter_context(Progress("encoding corrected frames"))
        for event in events:
            if isinstance(event, PassedOver):
                damaged = _by_session(event, args.sessions)
                for path, numbers in damaged.items():
                    say(f"{path}: {damage_text(numbers)}; not learned from.")
            elif isinstance(event, Preparing):
                progress(event.done, event.total)
            elif isinstance(event, Waiting):
                progress.waiting(event.note)
            elif isinstance(event, Step):
                progress.phase(f"held-out round {event.fold}" if event.fold else "learning from all of them")
                progress(event.step, event.total, note=f"loss {event.loss:.3f}")
            elif isinstance(event, Scored):
                frames = event.frames
            elif isinstance(event, Finished):
                result = event
    assert result is not None  # finetune ends with Finished, or raises
    print(outcome(result, frames))
    return {
        "name": result.name,
        "version": result.version,
        "path": result.path,
        "promoted": result.promoted,
        "before": result.before,
        "after": result.after,
        "frames": frames,
        "seconds": round(result.seconds, 2),
        "damaged": damaged,
    }


def _by_session(event: PassedOver, sessions: list[Path]) -> dict[str, list[int]]:
    """Frames that were passed over, by session."""
    found: dict[str, list[int]] = {}
    for number, t in event.frames:
        found.setdefault(str(sessions[number]), []).append(t)
    return found


def outcome(result: Finished, frames: int) -> str:
    """What came of it, in a sentence or two."""
    text = f"{result.name} ({result.version}) after {result.seconds:.0f} s, {result.path}\n"
    if result.before is None or result.after is None:
        return (
            text + "With one corrected frame nothing could be held out, so whether it is better is not known."
        )
    text += (
        f"Dice on {frames} held-out corrected frames: {result.before:.3f} before, {result.after:.3f} after. "
    )
    return text + (
        "It is better." if result.promoted else "It is not clearly better: go on with the earlier model."
    )
