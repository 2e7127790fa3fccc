"""Habits that all commands share: what stands on stdout, how much is said, hints, completion, the bar."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from vivim import Session, Vivim, cli
from vivim.cli import demo
from vivim.cli.progress import Progress
from vivim.cli.train import phantoms, starting_weights
from vivim.errors import CheckpointError
from vivim.network.checkpoints import save_checkpoint
from vivim.registry.registry import import_model


@pytest.fixture
def places(tiny_model: Vivim, sample, session: Session, tmp_path: Path) -> dict[str, Path]:
    """Files that commands are given."""
    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors", {"licence": "test"})
    for t in (2, 9):
        session.correct(t, sample.masks[t])
    session.close()
    return {
        "SESSION": session.folder, "VIDEO": sample.video, "CLIP": sample.clip,
        "TINY": tmp_path / "tiny.safetensors", "OUT": tmp_path / "out", "MASKS": sample.clip / "masks",
    }  # fmt: skip


COMMANDS = {
    "info": "",
    "segment": "VIDEO -o OUT --model TINY --format csv",
    "finetune": "SESSION -o mine --model TINY",
    "export": "SESSION -o OUT --format csv",
    "import": "SESSION MASKS",
    "check": "SESSION",
    "train": "CLIP -o OUT --prompts --initial TINY --steps 1 --device cpu --input-size 64",
    "evaluate": "CLIP --model TINY",
    "simulate": "CLIP --model TINY --corrections 0",
    "models": "list",
    "serve": "--show-token",
    "demo": "--out OUT",
    "completion": "bash",
}


VOICES = [(command, "") for command in COMMANDS] + [
    (command, voice) for command in ("segment", "check", "models") for voice in ("--quiet", "--verbose")
]


@pytest.mark.parametrize(("command", "voice"), VOICES)
def test_json_is_alone_on_stdout(
    command: str, voice: str, places: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(demo, "why_headless", lambda asked: None)
    monkeypatch.setattr(demo, "show", lambda out: print("a window") or {"video": "v"})
    words = [str(places.get(word, word)) for word in COMMANDS[command].split()]
    capsys.readouterr()
    assert cli.main([command, *words, "--json", *voice.split()]) == 0
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict) and out.count("\n") == 1
    assert voice != "--quiet" or not err


@pytest.mark.parametrize(
    ("words", "expected"),
    [("check ABSENT", 1), ("segment ABSENT -o x", 1), ("segment --clip-length 0", 2), ("segmnt", 2)],
)
def test_json_of_an_error_is_alone_on_stdout(
    words: str, expected: int, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main([*words.split(), "--json"])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert code == expected and err.endswith(f"vivim: {json.loads(out)['error']}\n")


def test_quiet_leaves_results_and_errors(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["segment", str(places["VIDEO"]), "-o", str(places["OUT"]), "--model", str(places["TINY"])]
    assert cli.main(["--quiet", *words]) == 0
    out, err = capsys.readouterr()
    assert "written to" in out and not err
    assert cli.main(["-q", "segment", "absent.mp4", *words[2:]]) == 1
    assert capsys.readouterr().err.startswith("vivim: ")


def test_verbose_shows_the_log_and_where_an_error_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    import logging

    import vivim.cli.info

    log = logging.getLogger("vivim.some.room")
    monkeypatch.setattr(vivim.cli.info, "run", lambda args: log.debug("a detail") or {})
    assert cli.main(["info", "-v"]) == 0
    assert "a detail" in capsys.readouterr().err
    assert cli.main(["info"]) == 0
    assert "a detail" not in capsys.readouterr().err
    assert cli.main(["models", "remove", "nobody", "--verbose"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1].startswith("vivim: There is no model")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("segmnt a.mp4", "Did you mean segment?"),
        ("models lst", "Did you mean list?"),
        ("segment a -o b --formt png", "Did you mean --format?"),
        ("segment a -o b --format pgn", "Did you mean png?"),
        ("segment a -o b --windows evry", "Did you mean every?"),
        ("segment a -o b --area 3", "TOP,LEFT,BOTTOM,RIGHT in pixels such as 40,60,440,580"),
        ("segment a -o b --area 1,2,3,x", "TOP,LEFT,BOTTOM,RIGHT"),
        ("train -o b --phantoms few", "such as 12 or 12@3"),
        ("train -o b --epochs many", "'many' is not a number"),
        ("serve --port here", "'here' is not a whole number"),
        ("export a", "-o/--output"),
        ("completion basch", "Did you mean bash?"),
    ],
)
def test_usage_errors_say_what_to_write(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words.split())
    err = capsys.readouterr().err
    assert end.value.code == 2 and says in err
    assert re.search(r"`vivim[ a-z]* --help` says more\.\n$", err) and err.count("\n") == 1


def test_names_of_models_and_recipes_are_guessed(
    places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(places["CLIP"]), "--model", "startr"]) == 1
    assert "Did you mean starter?" in capsys.readouterr().err
    assert cli.main(["train", str(places["CLIP"]), "-o", str(places["OUT"]), "--config", "papr"]) == 1
    assert "Did you mean paper?" in capsys.readouterr().err


def test_a_run_starts_from_a_model_of_the_registry(places: dict[str, Path]) -> None:
    import_model(places["TINY"], "mine")
    args = cli.build_parser("train").parse_args(["train", "-o", "x", "--initial", "mine"])
    model = starting_weights(args, None)  # type: ignore[arg-type]
    assert model is not None and model.name == "mine"


def test_phantoms_weigh_as_many_as_they_are() -> None:
    assert phantoms("12") == (12, 12.0) and phantoms("12@3") == (12, 3.0)


def test_help_loads_nothing_heavy_and_names_the_exit_codes() -> None:
    script = (
        "import sys\nfrom vivim.cli import COMMANDS, main\n"
        "for words in ([], *([name] for name in COMMANDS), ['models', 'list']):\n"
        "    try:\n        main([*words, '--help'])\n    except SystemExit as end:\n        assert end.code == 0\n"
        "assert not {'torch', 'numba', 'zarr', 'av', 'rich', 'shtab', 'napari', 'qtpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in cli.COMMANDS)
    assert done.stdout.count("2 wrong usage") == len(cli.COMMANDS) + 2


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert end.value.code == 2 and "segment" in capsys.readouterr().err


COMPLETE = """
source SCRIPT
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    $(complete -p vivim | sed 's/.*-F \\([^ ]*\\).*/\\1/') vivim "${COMP_WORDS[COMP_CWORD]}"
    echo "${COMPREPLY[@]}"
}
complete_words vivim seg
complete_words vivim segment a.mp4 --form
complete_words vivim segment a.mp4 --format nif
complete_words vivim models ren
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_bash_completes_commands_options_and_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "vivim.bash").write_text(capsys.readouterr().out)
    script = COMPLETE.replace("SCRIPT", str(tmp_path / "vivim.bash"))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert [line.strip() for line in done.stdout.splitlines()] == ["segment", "--format", "nifti", "rename"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "vivim" in script and all(name in script for name in (*cli.COMMANDS, "youtube-vos"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("colour", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_sparse_elsewhere(colour: bool, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with Progress("scan [1]: proposing", stream) as progress:
            for done in range(1, 101):
                progress(done, 100, seconds_left=100.0 - done)
                if progress._bar and done == 35:
                    progress._bar.refresh()
            progress.phase("scan [1]: writing")
            progress(2, 2, note="png")
    assert file.getvalue() == "scan [1]: proposing: 100/100\nscan [1]: writing: 2/2, png\n"
    shown = terminal.getvalue()
    assert "scan [1]: proposing: 35/100, 1:05 left" in shown and "scan [1]: writing: 2/2, png" in shown
    assert bool(re.search(r"\x1b\[[\d;]*m", shown)) == colour


def test_models_show_says_what_binds_a_model(
    places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).resolve().parents[3]
    assert cli.main(["models", "show", "starter"]) == 0
    out = capsys.readouterr().out
    assert (root / "docs" / "model-card-starter.md").read_text("utf-8") in out
    assert (root / "LICENSES" / "LicenseRef-Vivim-Weights.txt").read_text("utf-8") in out
    assert re.search(r"^version +[0-9a-f]{12}$", out, re.MULTILINE)
    import_model(places["TINY"], "other")
    assert cli.main(["models", "show", "other"]) == 0
    assert "Terms of the weights" not in capsys.readouterr().out
    assert cli.main(["models", "classes", "starter", "polyp", "ulcer", "-o", "two"]) == 0
    assert cli.main(["models", "show", "two"]) == 0
    out = capsys.readouterr().out
    assert "polyp, ulcer" in out and "Terms of the weights" in out and "# Model card" not in out


def test_the_card_of_an_installed_package_is_read_from_beside_its_licence(
    tmp_path: Path, monkeypatch
) -> None:
    from importlib import metadata

    from vivim.registry import registry

    monkeypatch.setattr(registry, "files", lambda name: tmp_path / "site-packages" / "vivim")
    folder = tmp_path / "napari_vivim-1.dist-info" / "licenses"
    (folder / "docs").mkdir(parents=True)
    (folder / registry.CARD).write_text("# Model card", "utf-8")
    found = metadata.PathDistribution(folder.parent)
    monkeypatch.setattr(registry.metadata, "distribution", lambda name: found)
    assert registry.starter_text(registry.CARD) == "# Model card"
    with pytest.raises(CheckpointError, match="Install napari-vivim again"):
        registry.starter_text(registry.TERMS)
