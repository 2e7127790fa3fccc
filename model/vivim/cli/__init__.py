"""The command ``vivim``: one module a command, each loaded only when its command is called.

Such a module has ``add_arguments(parser)`` and ``run(args) -> dict``; what `run` returns is what ``--json`` prints.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from types import ModuleType
from typing import Any

import vivim
from vivim.devices import is_out_of_memory, out_of_memory
from vivim.errors import VivimError
from vivim.utils.json_types import as_json

COMMANDS = {
    "info": ("vivim.cli.info", "versions, devices, scan backends, models"),
    "segment": ("vivim.cli.segment", "propose masks for videos and write them out"),
    "finetune": ("vivim.cli.finetune", "learn from the corrected frames of sessions"),
    "export": ("vivim.cli.export", "write the masks of a session in other formats"),
    "import": ("vivim.cli.import_masks", "bring masks made elsewhere into a session"),
    "check": ("vivim.cli.check", "compare sessions' masks with their ledgers, and mend them"),
    "train": ("vivim.cli.train", "train a network on datasets"),
    "evaluate": ("vivim.cli.evaluate", "every usual score on clips with true masks"),
    "simulate": ("vivim.cli.simulate", "a simulated annotator: how good masks get by corrections"),
    "agree": ("vivim.cli.agree", "how well several readers agree, and their consensus"),
    "report": ("vivim.cli.report", "progress, effort and agreement of a study"),
    "release": ("vivim.cli.release", "the approved frames of a study as a data set to publish"),
    "models": ("vivim.cli.models", "list, import, export, rename and remove models"),
    "serve": ("vivim.cli.serve", "let other machines propose and fine-tune on this one's device"),
    "demo": ("vivim.cli.demo", "the whole job on a synthetic video"),
}

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of ``vivim``. Only the options of `command` are declared, so that the others need no import."""
    parser = argparse.ArgumentParser(
        prog="vivim",
        description="Lesion masks in medical video: propose, correct, learn from the corrections. For research, "
        "not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"vivim {vivim.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == command:
            _module(name).add_arguments(sub)
            sub.add_argument("--json", action="store_true", help="print one line of JSON, alone on stdout")
    return parser


def _module(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command][0])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    `argv`: arguments without the program's name; those of the process by default. Returns 0 on success, 1
    where something is wrong with files, models or devices, 130 after Ctrl-C. Raises `SystemExit` with code 2
    on wrong usage, 0 after ``--help``.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in given if not word.startswith("-")), None)
    try:
        args = build_parser(command).parse_args(given)
        # with --json stdout is for that object alone
        with redirect_stdout(sys.stderr) if args.json else nullcontext():
            result = _module(args.command).run(args)
        if args.json:
            print(json.dumps(as_json(result), allow_nan=False), flush=True)
        else:
            sys.stdout.flush()
    except VivimError as error:
        return _failed(given, str(error), getattr(error, "result", {}))
    except KeyboardInterrupt:
        print("\nvivim: stopped; what was written so far is kept", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader of our output has gone, as in `vivim models list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _failed(given, f"{error.strerror or error}{where}")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _failed(given, str(out_of_memory()))
    return 0


def _failed(given: list[str], message: str, result: dict[str, Any] | None = None) -> int:
    """Say what went wrong in one line on stderr, and with ``--json`` also on stdout, beside what was done."""
    line = " ".join(message.split())
    print(f"vivim: {line}", file=sys.stderr)
    if "--json" in given:
        print(json.dumps(as_json({"error": line, **(result or {})}), allow_nan=False), flush=True)
    return 1
