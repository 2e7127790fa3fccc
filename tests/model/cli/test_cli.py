"""The command line as people and scripts meet it: results, exit codes, one line an error, Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from vivim import Session, Vivim, VivimConfig, cli, open_video
from vivim.errors import FrameError
from vivim.network.checkpoints import save_checkpoint
from vivim.video import make_phantom, write_video


@pytest.fixture
def tiny(tiny_model: Vivim, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny_model, path, {"licence": "test"})
    return path


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    phantom = make_phantom(frames=6, size=(96, 80), seed=1)
    (tmp_path / "videos").mkdir()
    return write_video(tmp_path / "videos" / "scan.mp4", phantom.frames, phantom.fps)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict, str]:
    """Run a command with ``--json``: exit code, the object, what stood on stderr."""
    capsys.readouterr()
    code = cli.main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def cut(tmp_path: Path, share: float) -> Path:
    """A video whose index is whole and whose pictures end early."""
    whole = write_video(tmp_path / "whole.mp4", make_phantom(frames=24, size=(64, 64)).frames, 25.0, gop=12)
    fast, options = str(tmp_path / "fast.mp4"), {"movflags": "faststart"}
    with av.open(str(whole)) as source, av.open(fast, "w", options=options) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * share)])
    return tmp_path / "cut.mp4"


@pytest.mark.parametrize("area", ([], ["--area", "auto", "--windows", "overlap"]))
def test_a_cut_video_gets_the_masks_of_its_whole_frames(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], area: list[str]
) -> None:
    path, out = cut(tmp_path, 0.6), tmp_path / "out"
    whole = []
    with closing(open_video(path)) as video:
        for t in range(len(video)):
            with suppress(FrameError):
                video.frame(t)
                whole.append(t)
        lost = sorted(set(range(len(video))) - set(whole))
    assert lost and whole
    words = ["segment", path, "-o", out, "--model", tiny, "--device", "cpu", *area]
    formats = ["--format", "png", "--format", "mp4", "--format", "csv", "--format", "tiff"]
    code, _, err = call(capsys, *words, *formats)
    names = [f"{t:06d}.png" for t in whole]
    assert code == 1 and "cut.mp4" in err and str(lost[0]) in err and "--allow-damaged" in err
    assert [file.name for file in sorted((out / "cut" / "masks").iterdir())] == names
    code, result, err = call(capsys, *words, *formats, "--allow-damaged")
    assert code == 0 and result["videos"][0]["damaged"] == lost and str(lost[0]) in err
    assert result["videos"][0]["frames"] == len(whole)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["segment"],
        ["segment", "a.mp4", "-o", "out", "--format", "gif"],
        ["segment", "a.mp4", "-o", "out", "--clip-length", "0"],
        ["segment", "a.mp4", "-o", "out", "--min-area", "-3"],
        ["export", "a.mp4", "-o", "out", "--frames", "3"],
        ["export", "a.mp4", "-o", "out", "--frames", "-3:4"],
        ["segment", "a.mp4", "-o", "out", "--device", "abacus"],
        ["simulate", "data", "--corrections", "a few"],
        ["models", "burn"],
    ],
)
def test_wrong_usage_is_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "vivim" in capsys.readouterr().err


def test_unknown_formats_are_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", "s", "-o", "out", "--format", "png,gif"])
    assert "unknown format 'gif'. There are png, palette, youtube-vos, tiff" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _ = call(capsys, "info")
    assert code == 0
    assert result["devices"][-1] == "cpu"
    assert "torch" in result["scan_backends"]
    assert result["versions"]["numpy"] == np.__version__
    assert result["default_model"] == "starter"


def test_segment_writes_a_mask_a_frame_and_nothing_beside_the_video(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["segment", movie, "-o", out, "--model", tiny, "--device", "cpu", "--clip-length", 4]
    code, result, err = call(capsys, *words)
    assert code == 0
    assert "scan.mp4: proposing: 6/6" in err
    masks = sorted((out / "scan" / "masks").iterdir())
    assert [p.name for p in masks] == [f"{t:06d}.png" for t in range(6)]
    assert [p.name for p in movie.parent.iterdir()] == ["scan.mp4"]
    (video,) = result["videos"]
    assert video["frames"] == 6
    with Session.open(video["session"], read_only=True) as session:
        assert session.frames_with("proposed") == list(range(6))
        for t, path in enumerate(masks):
            picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(picture, 255 * (np.asarray(session.masks[t]) > 0))


def test_segment_lays_windows_and_rounds_as_asked(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    words = ["segment", movie, "-o", tmp_path / "out", "--model", tiny, "--device", "cpu", "--clip-length", 4]
    words += ["--windows", "overlap", "--batch-size", 2, "--precision", "bfloat16"]
    code, result, _ = call(capsys, *words)
    assert code == 0
    with Session.open(result["videos"][0]["session"], read_only=True) as session:
        assert session.frames_with("proposed") == list(range(6))
    with pytest.raises(SystemExit):
        call(capsys, *words, "--windows", "all")


def test_segment_again_leaves_a_persons_frames_alone(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    words = ["segment", movie, "-o", tmp_path / "out", "--model", tiny]
    _, result, _ = call(capsys, *words)
    drawn = np.zeros((96, 80), np.uint8)
    drawn[10:20, 30:50] = 1
    with Session.open(result["videos"][0]["session"]) as session:
        session.correct(2, drawn)
    assert call(capsys, *words)[0] == 0
    picture = cv2.imread(str(tmp_path / "out/scan/masks/000002.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture, 255 * drawn)


def test_every_format_named_in_the_help_can_be_written(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    from vivim.io.export import FORMATS

    _, segmented, _ = call(capsys, "segment", movie, "-o", tmp_path / "a", "--model", tiny)
    session = segmented["videos"][0]["session"]
    others = [name for name in FORMATS if name != "dicom-seg"]
    words = ["--format", ",".join(others[:3]), *(word for name in others[3:] for word in ("--format", name))]
    code, result, _ = call(capsys, "export", session, "-o", tmp_path / "b", *words)
    assert code == 0
    assert set(result["files"]) == set(others)
    assert all(Path(path).exists() for path in result["files"].values())
    assert (tmp_path / "b" / "masks.tif").is_file() and (tmp_path / "b" / "overlay.mp4").is_file()
    code, result, _ = call(capsys, "export", session, "-o", tmp_path / "c", "--format", "dicom-seg")
    assert code == 1 and "one DICOM file" in result["error"]


def test_export_of_a_range_with_cleaning(
    capsys: pytest.CaptureFixture[str], movie: Path, tmp_path: Path
) -> None:
    mask = np.zeros((96, 80), np.uint8)
    mask[5:25, 5:25], mask[10:12, 10:12], mask[60, 60] = 1, 0, 1
    with Session.open(movie) as session:
        for t in range(6):
            session.correct(t, mask)
    words = ["export", movie, "-o", tmp_path / "out", "--frames", "2:5", "--min-area", 4, "--fill-holes"]
    assert call(capsys, *words)[0] == 0
    files = sorted((tmp_path / "out" / "masks").iterdir())
    assert [p.name for p in files] == ["000002.png", "000003.png", "000004.png"]
    expected = np.zeros((96, 80), np.uint8)
    expected[5:25, 5:25] = 255
    for path in files:
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), expected)


def test_one_bad_video_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(movie.read_bytes()[:500])
    code, result, err = call(capsys, "segment", bad, movie, "-o", tmp_path / "out", "--model", tiny)
    assert code == 1
    assert "1 of 2 videos failed" in result["error"] and "bad.mp4" in result["error"]
    assert err.splitlines()[-1] == f"vivim: {result['error']}"
    assert len(list((tmp_path / "out" / "scan" / "masks").iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["segment", "absent.mp4", "-o", "OUT", "--model", "TINY"], "absent.mp4"),
        (["segment", "VIDEO", "-o", "OUT", "--model", "absent"], "no model or file 'absent'"),
        (["segment", "VIDEO", "-o", "OUT", "--model", "VIDEO"], "safetensors"),
        (["segment", "VIDEO", "-o", "OUT", "--model", "TINY", "--device", "mps"], "not available"),
        (["segment", "VIDEO", "-o", "TINY", "--model", "TINY"], ""),
        (["export", "VIDEO", "-o", "OUT"], "no session"),
        (["finetune", "VIDEO", "-o", "mine", "--model", "TINY"], "no session"),
        (["finetune", "VIDEO", "-o", "../mine", "--model", "TINY"], "cannot be the name"),
        (["simulate", "OUT", "--model", "TINY"], "No clips"),
        (["models", "remove", "absent"], "no model 'absent'"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_code_1(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path
) -> None:
    places = {"TINY": tiny, "VIDEO": movie, "OUT": tmp_path / "out"}
    code, result, err = call(capsys, *(places.get(word, word) for word in words))
    assert code == 1
    assert says in result["error"]
    assert err == f"vivim: {result['error']}\n"
    assert [p.name for p in movie.parent.iterdir()] == ["scan.mp4"]


def test_ctrl_c_keeps_what_was_proposed(
    capsys: pytest.CaptureFixture[str], tiny: Path, movie: Path, tmp_path: Path, monkeypatch
) -> None:
    import vivim.api

    real = vivim.api.propose

    def interrupted(*args, **kwargs):
        for event in real(*args, **kwargs):
            yield event
            if event.done == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(vivim.api, "propose", interrupted)
    code = cli.main(["segment", str(movie), "-o", str(tmp_path / "out"), "--model", str(tiny)])
    assert code == 130
    assert "what was written so far is kept" in capsys.readouterr().err
    with Session.open(tmp_path / "out" / "scan" / "session.vivim") as session:
        assert session.frames_with("proposed") == [0, 1, 2]


def test_finetune_makes_a_version_that_segment_can_use(
    capsys: pytest.CaptureFixture[str], tiny: Path, session: Session, sample, tmp_path: Path
) -> None:
    for t in (2, 9):
        session.correct(t, sample.masks[t])
    session.close()
    code, result, _ = call(capsys, "finetune", session.folder, "-o", "mine", "--model", tiny)
    assert code == 0
    assert result["name"] == "mine" and result["frames"] == 2
    assert result["after"] > result["before"] or not result["promoted"]
    _, listed, _ = call(capsys, "models", "list")
    mine = next(row for row in listed["models"] if row["name"] == "mine")
    assert (mine["parent"], mine["frames"], mine["version"]) == ("tiny", 2, result["version"])
    code, segmented, _ = call(capsys, "segment", sample.video, "-o", tmp_path / "out", "--model", "mine")
    assert code == 0 and segmented["version"] == result["version"]


def test_finetune_without_a_corrected_frame(
    capsys: pytest.CaptureFixture[str], tiny: Path, session: Session
) -> None:
    code, result, _ = call(capsys, "finetune", session.folder, "-o", "mine", "--model", tiny)
    assert code == 1
    assert "Correct or accept at least one frame" in result["error"]


def test_simulate_prints_the_promised_object(capsys: pytest.CaptureFixture[str], tiny: Path, sample) -> None:
    code, result, _ = call(capsys, "simulate", sample.clip, "--model", tiny, "--corrections", "0,2")
    assert code == 0
    assert [(row["corrections"], row["frames"]) for row in result["clips"]] == [(0, 12), (2, 12)]
    assert set(result["clips"][0]) >= {"clip", "dice", "interpolation_dice", "seconds"}
    assert result["clips"][0]["interpolation_dice"] is None
    assert result["mean"]["2"]["dice"] == result["clips"][1]["dice"]
    assert result["mean"]["2"]["interpolation_dice"] > 0.5


def test_models_from_import_to_removal(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    assert call(capsys, "models", "import", tiny, "--name", "one")[1]["name"] == "one"
    assert call(capsys, "models", "rename", "one", "two")[1]["name"] == "two"
    assert call(capsys, "models", "default", "two")[0] == 0
    code, exported, _ = call(capsys, "models", "export", "two", tmp_path / "two.safetensors")
    assert code == 0 and Path(exported["path"]).is_file()
    _, listed, _ = call(capsys, "models")
    assert listed["default"] == "two" and "two" in [row["name"] for row in listed["models"]]
    assert call(capsys, "models", "remove", "two")[1] == {"removed": "two"}
    assert "two" not in [row["name"] for row in call(capsys, "models", "list")[1]["models"]]


def test_numbers_json_has_no_word_for_become_null(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    import vivim.cli.info

    monkeypatch.setattr(vivim.cli.info, "run", lambda args: {"a": [float("nan"), 1.5, float("inf")]})
    assert call(capsys, "info")[1] == {"a": [None, 1.5, None]}


def test_demo_without_a_window(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch, vivim_home: Path
) -> None:
    """A short video; `make demo` shows the whole of it."""
    from vivim.video import make_phantom

    smaller = {"frames": 18, "size": (128, 128)}
    monkeypatch.setattr("vivim.video.make_phantom", lambda **given: make_phantom(**{**given, **smaller}))
    settings = VivimConfig(size="b0", guided=True, prompts=True, input_size=(64, 64), temporal_stages=(3,))
    save_checkpoint(Vivim(settings).eval(), tiny, {"licence": "test"})
    monkeypatch.setattr("vivim.registry.registry.starter_path", lambda: tiny)
    before = sorted(path for path in vivim_home.rglob("*"))
    code, result, err = call(capsys, "demo", "--headless", "--out", tmp_path / "demo")
    assert code == 0
    assert err.startswith(
        f"Without a window, because --headless was given. What is made lies in {tmp_path / 'demo'}."
    )
    assert len(result["corrected"]) == 4
    assert result["after_corrections"] > result["before"]
    assert {"after_click", "next_before", "next_after"} <= set(result)
    for name in (
        "masks/000011.png",
        "overlay.mp4",
        "measurements.csv",
        "before-after.png",
        "fine-tuned.safetensors",
    ):
        assert str(tmp_path / "demo" / name.partition("/")[0]) in result["files"] and str(tmp_path) in err
        assert (tmp_path / "demo" / name).is_file(), name
    assert os.environ["VIVIM_HOME"] == str(vivim_home)
    assert sorted(path for path in vivim_home.rglob("*")) == before, (
        "something is left in the person's registry"
    )
    assert not [path for path in (tmp_path / "demo").iterdir() if path.name.startswith("home-")]


def test_demo_says_why_there_is_no_window(monkeypatch) -> None:
    from vivim.cli.demo import why_headless

    assert why_headless(True) == "--headless was given"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert why_headless(False) == "there is no display"
    monkeypatch.setenv("DISPLAY", ":0")
    assert why_headless(False) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "napari is not installed" in why_headless(False)


def test_demo_in_a_window_is_napari_in_a_process_of_its_own(
    monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import vivim.cli.demo

    commands, codes, homes = [], [0, 3], []
    monkeypatch.setattr(vivim.cli.demo, "why_headless", lambda asked: None)

    def called(command: list[str], env: dict[str, str]) -> int:
        commands.append(command)
        homes.append(env["VIVIM_HOME"])
        return codes.pop(0)

    monkeypatch.setattr(subprocess, "call", called)
    code, result, _ = call(capsys, "demo", "--out", tmp_path / "demo")
    assert code == 0 and Path(result["video"]).stat().st_size > 10_000
    assert commands[0][1:3] == ["-m", "napari"]
    assert commands[0][-3:] == ["--with", "napari-vivim", "Vivim Segment"]
    assert homes[0] == str(tmp_path / "demo" / "vivim-home")
    code, result, _ = call(capsys, "demo", "--out", tmp_path / "demo")
    assert code == 1 and "exit code 3" in result["error"]
