"""``vivim completion SHELL``: a script that completes commands, options, choices and files in a shell."""

import argparse
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def run(args: argparse.Namespace) -> dict:
    """Print the script."""
    import shtab

    from vivim.cli import COMPLETION, build_parser, each_parser
    from vivim.cli.options import formats
    from vivim.io.formats import FORMATS

    parser = build_parser(COMPLETION)
    for each in each_parser(parser):
        for action in each._actions:
            if action.type is formats:
                action.choices = list(FORMATS)
            elif action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(parser, args.shell)
    print(script)
    return {"shell": args.shell, "script": script}
