"""``vivim info``: what is installed and what this machine can do. The first thing to put into a bug report."""

import argparse
import platform
from importlib import metadata
from typing import Any

import vivim
from vivim.devices import available_devices

PACKAGES = ("torch", "numpy", "numba", "zarr", "av", "napari", "mamba-ssm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``vivim info`` has no options of its own."""


def versions() -> dict[str, str | None]:
    """Versions by name. None where a package is not installed."""
    found: dict[str, str | None] = {"vivim": vivim.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def run(args: argparse.Namespace) -> dict:
    """Print what there is."""
    from vivim.cli.models import as_row
    from vivim.registry.registry import default_model_name, list_models, models_folder
    from vivim.scan import available_backends
    from vivim.settings import settings_path

    result: dict[str, Any] = {
        "versions": versions(),
        "platform": platform.platform(),
        "devices": available_devices(),
        "scan_backends": list(available_backends()),
        "settings": str(settings_path()),
        "models_folder": str(models_folder()),
        "default_model": default_model_name(),
        "models": [as_row(info) for info in list_models()],
    }
    lines = {name: version or "not installed" for name, version in result["versions"].items()}
    lines["platform"] = result["platform"]
    lines["devices"] = ", ".join(result["devices"])
    lines["scan backends"] = ", ".join(result["scan_backends"])
    lines["models"] = ", ".join(row["name"] for row in result["models"]) or "none"
    lines["default model"] = result["default_model"]
    lines["models folder"] = result["models_folder"]
    lines["settings"] = result["settings"]
    print("\n".join(f"{name:14} {value}" for name, value in lines.items()))
    return result
