"""What the documentation says is true: its code runs, its commands exist, its words are plain.

Every fenced block of README.md and ``docs`` is run, page by page, in a folder with a tiny synthetic video. A page's
Python shares one namespace. Shell lines are read by the real parsers. A block that cannot run has a comment before it
that says why: ``<!-- not run: needs a GPU -->``. Its commands are still checked.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import vivim
import vivim.cli
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path.relative_to(ROOT).as_posix() for path in PATHS]
READ_ONLY = {"ini", "nginx", "mermaid"}
"""Languages of blocks that are configuration of other programs, or pictures."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def _script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


readability = _script("readability")


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    code: str
    reason: str | None
    """Why it is not run. None where it is."""


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            text[: found.start("code")].count("\n"), found["language"].strip(), found["code"], found["reason"]
        )
        for found in FENCE.finditer(text)
    ]


def shell_lines(code: str) -> Iterator[list[str]]:
    """Words of each command, without comments; lines that end with a backslash go on."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def vivim_arguments(words: list[str]) -> list[str] | None:
    """What `vivim` is given in a command, also behind ``torchrun ... -m vivim``. None in any other command."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:1] == ["vivim"]:
        return words[1:]
    module = next((i for i, pair in enumerate(pairwise(words)) if pair == ("-m", "vivim")), None)
    return None if module is None else words[module + 2 :]


def options_of(command: str) -> set[str]:
    """All options of a command, and those of its actions."""
    parser = vivim.cli.build_parser(command)
    found: set[str] = set()
    waiting = [parser]
    while waiting:
        for action in waiting.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += [
                    sub for name, sub in action.choices.items() if name == command or command == "models"
                ]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_languages_and_reasons_are_given(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(blocks(page)), "a block is not closed"
    assert {b.language for b in blocks(page)} <= {"sh", "python", "toml", *READ_ONLY}
    given = re.findall(r"^<!-- not run:", text, re.MULTILINE)
    assert len(given) == sum(b.reason is not None for b in blocks(page)), "a reason without a block"


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_are_those_of_the_program(page: str, vivim_home: Path) -> None:
    """Each ``vivim ...`` line parses; extras, make targets and modules exist."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for block in blocks(page):
        if block.language != "sh":
            continue
        for words in shell_lines(block.code):
            where = f"{page}:{block.line}: {' '.join(words)}"
            arguments = vivim_arguments(words)
            if arguments is not None:
                try:
                    vivim.cli.build_parser(arguments[0]).parse_args(arguments)
                except SystemExit:
                    pytest.fail(f"{where} is not understood")
            elif words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), where
            elif words[1:3] == ["-m", "benchmarks"] or words[0].endswith("python"):
                path = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
                assert words[2] == "pytest" or (ROOT / path).is_file(), where
            elif block.reason is None:
                assert words[0] in ("pip", "uv"), f"{where} is neither run nor explained"
    for extras in re.findall(r"napari-vivim\[([\w,]+)\]", (ROOT / page).read_text("utf-8")):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_commands_between_backticks_have_these_options(page: str, vivim_home: Path) -> None:
    gone = r"^### Removed\n.*?(?=^##)|^## \[\d.*"  # what an earlier version had
    text = re.sub(gone, "", FENCE.sub("", (ROOT / page).read_text("utf-8")), flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`vivim ([^`]+)`", text):
        command, *rest = span.split()
        assert command in {*vivim.cli.COMMANDS, "COMMAND"}, span
        wanted = {word.strip("[],").partition("=")[0] for word in rest if word.strip("[]").startswith("-")}
        if command != "COMMAND":
            assert wanted <= options_of(command), span


@pytest.fixture
def study(tmp_path: Path, vivim_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a page's blocks run in, with the synthetic videos, data sets and masks that pages name."""
    phantom = vivim.make_phantom(frames=6, size=(64, 64), seed=3)
    vivim.write_video(tmp_path / "cine.mp4", phantom.frames, phantom.fps)
    (tmp_path / "study" / "p1").mkdir(parents=True)
    vivim.write_video(tmp_path / "study" / "p1" / "a.mp4", phantom.frames[:4], phantom.fps)
    for folder, pictures in (
        ("masks", phantom.masks * 255),
        ("my-test-set/clip/frames", phantom.frames[:4]),
        ("my-test-set/clip/masks", phantom.masks[:4] * 255),
    ):
        (tmp_path / folder).mkdir(parents=True)
        for t, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / folder / f"{t:06d}.png")
    polygon = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[20, 20, 40, 20, 40, 40]]}
    picture = {"id": 1, "file_name": "000004.png", "height": 64, "width": 64}
    coco = {"images": [picture], "categories": [{"id": 1, "name": "lesion"}], "annotations": [polygon]}
    (tmp_path / "annotations.json").write_text(json.dumps(coco), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def annotate(video: Path) -> None:
    """Correct two frames and name a model, as somebody who goes on with the command line has."""
    with vivim.Session.open(video) as session:
        for t in (2, 5):
            mask = session.shown(t)
            mask[20:40, 20:40] = 1
            session.correct(t, mask)
    vivim.export_model("starter", "starter-copy.safetensors")
    vivim.import_model("starter-copy.safetensors", "my-probe")


RUN = [
    page
    for page in PAGES
    if any(
        b.reason is None and (b.language in ("python", "toml") or "vivim " in b.code) for b in blocks(page)
    )
]


@pytest.mark.parametrize("page", RUN)
def test_blocks_of_a_page_run(page: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {"__name__": page}
    if not any(block.language == "python" for block in blocks(page)):
        annotate(study / "cine.mp4")
    try:
        for block in blocks(page):
            if block.reason is not None or block.language in READ_ONLY:
                continue
            if block.language == "toml":
                tomllib.loads(block.code)
            elif block.language == "python":
                exec(compile("\n" * block.line + block.code, page, "exec"), namespace)
            else:
                for words in shell_lines(block.code):
                    arguments = vivim_arguments(words)
                    assert arguments is None or vivim.cli.main(arguments) == 0, capsys.readouterr().err
    finally:
        for value in namespace.values():
            if isinstance(value, vivim.Session):
                value.close()
    if page == "README.md":
        with vivim.Session.open(study / "cine.mp4", read_only=True) as session:
            assert session.status(5) == "corrected" and session.frames_with("proposed")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_a_page_is_easy_to_read(page: str) -> None:
    """At most 18 words a sentence on average, and no coined words."""
    measured = readability.measure(page, (ROOT / page).read_text("utf-8"))
    assert measured.mean <= readability.MOST_WORDS
    assert not measured.coined


def test_sentences_are_counted_as_a_reader_does() -> None:
    page = (
        "# A heading is no sentence.\n\nOne two three. Four `code --of it` five\nsix [seven](eight.md)!\n\n"
        "- an entry without an end\n- Nine. \n\n| a table. |\n\n```sh\nno. such. thing.\n```\n<!-- Nor. -->\n"
    )
    measured = readability.measure("page", page)
    assert readability.sentences(page) == ["One two three.", "Four Code five six seven!", "Nine."]
    assert (measured.sentences, measured.words, measured.coined) == (3, 9, ())
    assert readability.measure("page", "Carried masks, in `doubt`.").coined == ("carried",)


def test_the_json_of_a_command_is_alone_on_stdout(
    vivim_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/command-line.md promises."""
    assert vivim.cli.main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["default"] == "starter"


def test_every_public_name_has_a_place_in_the_reference() -> None:
    listed = set(
        re.findall(r"^::: vivim\.(\w+)", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    )
    aliases = {
        "FinetuneEvent",
        "errors",
    }  # a union of the events, and the module of the errors that are listed
    assert set(vivim.__all__) - aliases <= listed


def test_every_promise_has_a_test_of_its_name() -> None:
    page = (ROOT / "docs" / "contributing.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page.partition("## Promises and their tests")[2]))
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))


SAFE = {"torch.load": ("weights_only", "True"), "yaml.load": ("Loader", "yaml.BaseLoader")}
"""What reads files that could hold code, and the argument that keeps it from running any."""


def test_nothing_is_ever_unpickled() -> None:
    """No module reads a pickle. PyTorch and YAML are told to read plain values, NumPy refuses pickles by itself."""
    wrong = []
    for path in [*(ROOT / "model" / "vivim").rglob("*.py"), *(ROOT / "napari_vivim").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            unsafe = (
                re.match(r"(?:pickle|cPickle|dill|joblib|shelve|marshal)\.(?:loads?|open|Unpickler)", name)
                or given.get("allow_pickle", "False") != "False"
                or (name in SAFE and given.get(SAFE[name][0], ast.unparse(node.args[-1])) != SAFE[name][1])
            )
            if unsafe:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert not wrong
