"""``vivim models``: list, show, import, export, rename, widen and remove models, and choose the one offered first."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vivim.registry.registry import (
    CARD,
    STARTER,
    TERMS,
    ModelInfo,
    add_classes,
    comes_from_starter,
    default_model_name,
    export_model,
    import_model,
    list_models,
    load_model,
    model_info,
    model_path,
    remove_model,
    rename_model,
    set_default_model,
    starter_text,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.set_defaults(act=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    def action(name: str, summary: str, act: Callable[[argparse.Namespace], dict]) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.set_defaults(act=act)
        return sub

    action("list", "list all models", _list)
    action("show", "show all about a model: of the starter its card and licence too", _show).add_argument(
        "name"
    )
    adding = action("import", "check a model file, of this program or of the reference, and add it", _import)
    adding.add_argument("file", type=Path)
    adding.add_argument("--name", help="its name here; the file's by default")
    copying = action("export", "copy a model to a file", _export)
    copying.add_argument("name")
    copying.add_argument("file", type=Path)
    renaming = action("rename", "give a model another name", _rename)
    renaming.add_argument("name")
    renaming.add_argument("new_name")
    widening = action("classes", "make a new version that can learn several classes", _classes)
    widening.add_argument("name")
    widening.add_argument(
        "classes", nargs="+", metavar="CLASS", help="all of them, in the order of their labels"
    )
    widening.add_argument("-o", "--output", required=True, metavar="NEW", help="name of the new version")
    action("remove", "delete a model for good", _remove).add_argument("name")
    action("default", "offer a model first from now on", _default).add_argument("name")


def as_row(info: ModelInfo) -> dict[str, Any]:
    """A version as plain JSON values."""
    return {**asdict(info), "path": str(info.path)}


def run(args: argparse.Namespace) -> dict:
    """Do what the action says."""
    return args.act(args)


def _list(args: argparse.Namespace) -> dict:
    models, default = list_models(), default_model_name()
    print(
        f"  {'name':24} {'version':12} {'from':16} {'frames':>6} {'videos':>6} {'before':>6} {'after':>6}  description"
    )
    for info in models:
        mark = "*" if info.name == default else " "
        print(
            f"{mark} {info.name:24} {info.version:12} {info.parent or '-':16} {info.frames or '-':>6} "
            f"{info.sessions or '-':>6} "
            f"{_score(info.before):>6} {_score(info.after):>6}  {info.description}"
        )
    return {"models": [as_row(info) for info in models], "default": default}


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(args: argparse.Namespace) -> dict:
    info = model_info(model_path(args.name))
    row = as_row(info)
    row["version"] = row["version"] or load_model(info.path).version  # the starter's file does not say it
    for name, value in row.items():
        if value not in (None, (), []):
            print(f"{name:14} {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    if comes_from_starter(info):
        row["terms"] = starter_text(TERMS)
    if info.name == STARTER:
        row["card"] = starter_text(CARD)
        print(f"\n{row['card']}")
    elif "terms" in row:
        print(f"\nIt comes from {STARTER}: `vivim models show {STARTER}` prints its card.")
    if "terms" in row:
        print(f"\n{row['terms']}")
    return row


def _import(args: argparse.Namespace) -> dict:
    info = import_model(args.file, args.name)
    print(f"Imported as {info.name}: {info.description}")
    return as_row(info)


def _export(args: argparse.Namespace) -> dict:
    path = export_model(args.name, args.file)
    print(f"Written to {path}")
    return {"name": args.name, "path": str(path)}


def _rename(args: argparse.Namespace) -> dict:
    info = rename_model(args.name, args.new_name)
    print(f"{args.name} is now called {info.name}")
    return as_row(info)


def _classes(args: argparse.Namespace) -> dict:
    info = add_classes(args.name, args.classes, args.output)
    print(f"Made {info.name} with the classes {', '.join(info.classes)}; fine-tune it on masks of them")
    return as_row(info)


def _remove(args: argparse.Namespace) -> dict:
    remove_model(args.name)
    print(f"Removed {args.name}")
    return {"removed": args.name}


def _default(args: argparse.Namespace) -> dict:
    set_default_model(args.name)
    print(f"{args.name} is offered first from now on")
    return {"default": args.name}
