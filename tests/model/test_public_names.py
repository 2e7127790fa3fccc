"""Every public function and class is ``vivim.NAME``, described in docs/python.md, and loaded when first used."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import vivim

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_TORCH = (
    "VivimError",
    "dice",
    "Session",
    "open_video",
    "suggest_frames",
    "agreement",
    "consensus",
    "export",
    "import_masks",
    "Settings",
)


@pytest.mark.parametrize("name", vivim.__all__)
def test_every_public_name_is_there_and_described(name: str) -> None:
    assert getattr(vivim, name) is not None
    described = re.findall(r"\bvivim\.(\w+)", (ROOT / "docs" / "python.md").read_text("utf-8"))
    assert name in described


def test_every_described_name_is_there() -> None:
    described = re.findall(r"`vivim\.(\w+)", (ROOT / "docs" / "python.md").read_text("utf-8"))
    assert [name for name in described if not hasattr(vivim, name)] == []


def test_names_of_the_contract() -> None:
    names = {
        "Session", "Vivim", "VivimConfig", "evaluate", "export", "finetune", "import_masks", "list_models",
        "load_model", "open_video", "propose", "scan", "segment_frames", "suggest_frames",
    }  # fmt: skip
    assert names <= set(vivim.__all__) and names <= set(dir(vivim))


def test_pytorch_is_loaded_when_it_is_needed() -> None:
    program = (
        "import json, sys, vivim\n"
        f"loaded = {{}}\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        "    getattr(vivim, name)\n"
        "    loaded[name] = 'torch' in sys.modules\n"
        "vivim.Vivim\n"
        "print(json.dumps([loaded, 'torch' in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [dict.fromkeys(WITHOUT_TORCH, False), True]


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vivim.no_such_name  # type: ignore[attr-defined]
