"""The command ``vivim``: one module a command, each loaded only when its command is called.

Such a module has ``add_arguments(parser)`` and ``run(args) -> dict``; what `run` returns is what ``--json`` prints.
"""

import argparse
import importlib
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from types import ModuleType
from typing import Any, NoReturn

import vivim
from vivim.devices import is_out_of_memory, out_of_memory
from vivim.errors import VivimError, did_you_mean
from vivim.utils.json_types import as_json

COMPLETION = "completion"
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
    "models": ("vivim.cli.models", "list, show, import, export, rename and remove models"),
    "serve": ("vivim.cli.serve", "let other machines propose and fine-tune on this one's device"),
    "demo": ("vivim.cli.demo", "the whole job on a synthetic video"),
    COMPLETION: ("vivim.cli.completion", "print a script that completes commands and options in a shell"),
}

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""
EXIT_CODES = (
    "Exit codes: 0 success, 1 an error, with one sentence on stderr, 2 wrong usage, 130 stopped by Ctrl-C."
)
KINDS = {"int": "a whole number", "float": "a number"}


class UsageError(VivimError):
    """A command line is wrong. The message says which part, and where to read more."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a `UsageError` that names what may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of ending the program."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        option = re.search(r"unrecognized arguments: (-[^\s=]+)", message)
        hint = ""
        if choice:
            hint = did_you_mean(choice[1], re.findall(r"[^\s',]+", choice[2]))
        elif option:
            known = {name for parser in each_parser(self) for name in parser._option_string_actions}
            hint = did_you_mean(option[1], known)
        message = re.sub(
            r"invalid (int|float) value: (.*)", lambda m: f"{m[2]} is not {KINDS[m[1]]}", message
        )
        raise UsageError(f"{message.rstrip('.')}.{hint} `{self.prog} --help` says more.")


def each_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands and their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from each_parser(sub)


def build_parser(command: str | None) -> Parser:
    """The parser of ``vivim``. Only the options of `command` are declared, so that the others need no import.

    For completion those of all commands are.
    """
    parser = Parser(
        prog="vivim",
        description="Lesion masks in medical video: propose, correct, learn from the corrections. For research, "
        "not for diagnosis.",
    )
    parser.set_defaults(json=False, quiet=False, verbose=False)
    parser.add_argument("--version", action="version", version=f"vivim {vivim.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if command in (name, COMPLETION):
            _module(name).add_arguments(sub)
    for each in each_parser(parser):
        each.epilog = EXIT_CODES
        _add_voice(each)
    return parser


def _add_voice(parser: argparse.ArgumentParser) -> None:
    """Declare how much is said. A command's own default must not undo what stands before the command."""
    suppress = argparse.SUPPRESS
    parser.add_argument(
        "--json", action="store_true", default=suppress, help="print one line of JSON, alone on stdout"
    )
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("-q", "--quiet", action="store_true", default=suppress, help="only results and errors")
    voice.add_argument(
        "-v", "--verbose", action="store_true", default=suppress, help="also the program's log"
    )


def _module(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command][0])


@contextmanager
def _voice(args: argparse.Namespace) -> Iterator[None]:
    """Send what is said while a command runs to where the options want it."""
    log = logging.getLogger("vivim")
    with ExitStack() as stack:
        if args.verbose:
            handler = logging.StreamHandler(sys.stderr)
            stack.callback(log.setLevel, log.level)
            stack.callback(log.removeHandler, handler)
            log.addHandler(handler)
            log.setLevel(logging.DEBUG)
        if args.quiet:
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
        if args.json:  # stdout is for that object alone
            stack.enter_context(redirect_stdout(sys.stderr))
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    `argv`: arguments without the program's name; those of the process by default. Returns 0 on success, 1
    where something is wrong with files, models or devices, 130 after Ctrl-C. Raises `SystemExit` with code 2
    on wrong usage, 0 after ``--help``.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in given if not word.startswith("-")), None)
    try:
        if not given:
            build_parser(None).print_help(sys.stderr)
            raise SystemExit(2)
        args = build_parser(command).parse_args(given)
        with _voice(args):
            result = _module(args.command).run(args)
        if args.json:
            print(json.dumps(as_json(result), allow_nan=False), flush=True)
        else:
            sys.stdout.flush()
    except UsageError as error:
        raise SystemExit(_failed(given, str(error), code=2)) from None
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


def _failed(given: list[str], message: str, result: dict[str, Any] | None = None, code: int = 1) -> int:
    """Say what went wrong in one line on stderr, and with ``--json`` also on stdout, beside what was done."""
    if {"-v", "--verbose"} & set(given):
        traceback.print_exc()
    line = " ".join(message.split())
    print(f"vivim: {line}", file=sys.stderr)
    if "--json" in given:
        print(json.dumps(as_json({"error": line, **(result or {})}), allow_nan=False), flush=True)
    return code
