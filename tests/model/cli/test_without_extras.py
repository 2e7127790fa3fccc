"""The command line of an installation without any extra: help is there, and what needs an extra names it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.cli import COMMANDS

SCRIPT = Path(__file__).with_name("without_extras.py")
MODELS = ("list", "import", "export", "rename", "classes", "remove", "default")
REMOTE = "remote:http://127.0.0.1:9"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What each command answered, by what was asked for."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("bare")
    clip = folder / "data" / "clip"
    for kind in ("frames", "masks"):
        (clip / kind).mkdir(parents=True)
        for t in range(2):
            Image.fromarray(np.full((32, 32), 255 * (kind == "masks"), np.uint8)).save(
                clip / kind / f"{t}.png"
            )
    with Session.open(clip / "frames", folder=folder / "one.vivim") as session:
        session.correct(0, np.ones((32, 32), np.uint8))
    video, out, nowhere = str(clip / "frames"), str(folder / "out"), str(folder / "nowhere")
    asked = {f"{name} --help": [name, "--help"] for name in COMMANDS}
    asked |= {f"models {name} --help": ["models", name, "--help"] for name in MODELS}
    asked |= {
        "info": ["info"],
        "models list": ["models", "list"],
        "segment nothing": ["segment", nowhere, "-o", out],
        "segment remote": ["segment", video, "-o", out, "--device", REMOTE],
        "segment cluster": ["segment", video, "-o", out, "--cluster", "local"],
        "segment scheduler": ["segment", video, "-o", out, "--cluster", "tcp://127.0.0.1:9"],
        "finetune nothing": ["finetune", nowhere, "-o", "new"],
        "finetune remote": ["finetune", str(folder / "one.vivim"), "-o", "new", "--device", REMOTE],
        "export nothing": ["export", nowhere, "-o", out],
        "export cluster": ["export", str(folder / "one.vivim"), "-o", out, "--cluster", "local"],
        "export": ["export", str(folder / "one.vivim"), "-o", out, "--format", "csv,png"],
        "import nothing": ["import", str(folder / "one.vivim"), nowhere],
        "train nothing": ["train", nowhere, "-o", out],
        "train": ["train", str(folder / "data"), "-o", out + "-run"],
        "evaluate nothing": ["evaluate", nowhere],
        "simulate nothing": ["simulate", nowhere],
        "models import nothing": ["models", "import", nowhere],
        "models export nothing": ["models", "export", "nobody", out],
        "models rename nothing": ["models", "rename", "nobody", "new"],
        "models classes nothing": ["models", "classes", "nobody", "a", "b", "-o", "new"],
        "models remove nothing": ["models", "remove", "nobody"],
        "models default nothing": ["models", "default", "nobody"],
        "agree nothing": ["agree", nowhere],
        "report nothing": ["report", nowhere],
        "report": ["report", str(folder / "one.vivim")],
        "report page": ["report", str(folder / "one.vivim"), "-o", str(folder / "report.html")],
        "release nothing": ["release", nowhere, "-o", out],
        "serve": ["serve", "--port", "0"],
    }
    run = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps([*asked.values()]),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(asked, map(json.loads, run.stdout.splitlines()), strict=True))


def test_every_command_and_action_explains_itself(answers: dict[str, dict]) -> None:
    helped = {name: answer for name, answer in answers.items() if name.endswith("--help")}
    assert len(helped) == len(COMMANDS) + len(MODELS)
    assert {name: answer["code"] for name, answer in helped.items()} == dict.fromkeys(helped, 0)


def test_nothing_ends_in_a_traceback(answers: dict[str, dict]) -> None:
    wrong = {name: a for name, a in answers.items() if a["code"] not in (0, 1) or "Traceback" in a["err"]}
    assert not wrong


@pytest.mark.parametrize(
    ("asked", "extra"),
    [
        ("serve", "remote"),
        ("segment remote", "remote"),
        ("finetune remote", "remote"),
        ("segment cluster", "cluster"),
        ("segment scheduler", "cluster"),
        ("export cluster", "cluster"),
        ("train", "train"),
        ("report page", "review"),
    ],
)
def test_what_needs_an_extra_names_it(answers: dict[str, dict], asked: str, extra: str) -> None:
    assert answers[asked]["code"] == 1
    assert f"napari-vivim[{extra}]" in answers[asked]["err"]


@pytest.mark.parametrize("asked", ["info", "models list", "export", "report"])
def test_what_needs_none_works(answers: dict[str, dict], asked: str) -> None:
    assert answers[asked]["code"] == 0, answers[asked]


def test_what_is_not_there_is_said(answers: dict[str, dict]) -> None:
    missing = {name: answer for name, answer in answers.items() if name.endswith("nothing")}
    assert len(missing) == 16
    for name, answer in missing.items():
        assert answer["code"] == 1 and answer["err"].startswith("vivim: "), name
