"""Videos whose times, order or bytes mislead, judged by the numbers in their pixels and by the ffmpeg program."""

from __future__ import annotations

import queue
import subprocess
import threading
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numbered import COUNT, HEIGHT, WIDTH, encode, number_of
from vivim import open_video
from vivim.errors import VideoError
from vivim.video import Scrubber, make_phantom, write_video
from vivim.video.base import FrameCache

LONG = {"g": "250", "bf": "3", "crf": "10"}


def ffmpeg(*arguments: object) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def as_ffmpeg_shows(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    raw = ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape[1:])


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("hard") / "source.mp4", "libx264", LONG)


def numbers_at_random(path: Path) -> tuple[list[int], list[int]]:
    """What was asked for, and what came, with a cache too small to help."""
    video = open_video(path)
    video._cache = FrameCache(1)
    order = [int(i) for i in np.random.default_rng(3).permutation(len(video))]
    return order, [number_of(video.frame(i)) for i in order]


@pytest.mark.parametrize(
    ("codec", "options"),
    [("mpeg4", {"bf": "2", "g": "12", "qscale": "2"}), ("libx264", {"bf": "3", "g": "30", "crf": "10"})],
)
def test_avi_with_reordered_frames_shows_them_in_their_order(
    tmp_path: Path, codec: str, options: dict
) -> None:
    path = encode(tmp_path / "a.avi", codec, options, bframes=2)
    asked, came = numbers_at_random(path)
    assert len(asked) == COUNT
    assert came == asked
    assert open_video(path).frame_time(10) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("name", ["a.mpg", "a.wmv", "a.m4v", "copy.mkv", "b-frames.mpg"])
def test_containers_with_vague_places_and_times(source: Path, tmp_path: Path, name: str) -> None:
    how = ["-c", "copy"] if name.endswith(("m4v", "mkv")) else ["-q:v", 2, "-g", 12]
    if name == "b-frames.mpg":
        how += ["-bf", 2]
    ffmpeg("-i", source, *how, tmp_path / name)
    asked, came = numbers_at_random(tmp_path / name)
    assert len(asked) == COUNT
    assert came == asked


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hevc.mp4", "-c:v libx265 -x265-params log-level=none:bframes=3:keyint=30 -crf 12"),
        ("ten-bits.mkv", "-c:v libx264 -pix_fmt yuv420p10le -bf 2 -g 30 -crf 10"),
        ("odd.mp4", "-c:v libx264 -vf format=yuv444p,crop=63:47:0:0 -bf 2 -g 30 -crf 10"),
        ("ten-bits-lossless.mkv", "-c:v ffv1 -pix_fmt yuv444p10le"),
    ],
)
def test_other_codecs_depths_and_sizes(source: Path, tmp_path: Path, name: str, options: str) -> None:
    ffmpeg("-i", source, *options.split(), tmp_path / name)
    asked, came = numbers_at_random(tmp_path / name)
    assert len(asked) == COUNT and came == asked
    if name == "odd.mp4":
        assert open_video(tmp_path / name).shape == (COUNT, 47, 63, 3)


def test_short_groups_need_no_second_seek(tmp_path: Path, monkeypatch) -> None:
    options = {"g": "2", "bf": "1", "crf": "10", "sc_threshold": "0"}
    video = open_video(encode(tmp_path / "short.mp4", "libx264", options))
    monkeypatch.setattr(video, "_restart", lambda: pytest.fail("began again from the start"))
    for i in np.random.default_rng(0).permutation(COUNT):
        assert number_of(video.frame(int(i))) == i


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied_as_ffmpeg_does(source: Path, tmp_path: Path, degrees: int) -> None:
    ffmpeg("-display_rotation", degrees, "-i", source, "-c", "copy", tmp_path / "turned.mp4")
    video = open_video(tmp_path / "turned.mp4")
    assert video.shape[1:3] == ((WIDTH, HEIGHT) if degrees % 180 else (HEIGHT, WIDTH))
    shown = as_ffmpeg_shows(tmp_path / "turned.mp4", video.shape)
    np.testing.assert_array_equal(video.frame(10), shown[10])


def test_frames_cut_off_by_an_edit_list_do_not_count(source: Path, tmp_path: Path) -> None:
    ffmpeg("-ss", 1, "-i", source, "-c", "copy", tmp_path / "cut.mp4")
    asked, came = numbers_at_random(tmp_path / "cut.mp4")
    assert len(asked) == COUNT - 25
    assert came == [i + 25 for i in asked]


def test_colours_are_those_of_ffmpeg(tmp_path: Path) -> None:
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    pattern = ["-f", "lavfi", "-i", "testsrc2=s=160x120:d=0.2"]
    ffmpeg(*pattern, "-vf", "scale=out_color_matrix=bt709", *tags, "-pix_fmt", "yuv420p", tmp_path / "hd.mp4")
    ffmpeg(*pattern, "-pix_fmt", "yuvj420p", tmp_path / "full.mp4")
    for name in ("hd.mp4", "full.mp4"):
        video = open_video(tmp_path / name)
        np.testing.assert_array_equal(video.frame(2), as_ffmpeg_shows(tmp_path / name, video.shape)[2])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_tail_is_told_at_the_frame_and_the_rest_is_right(
    source: Path, tmp_path: Path, share: float
) -> None:
    ffmpeg("-i", source, "-c", "copy", "-movflags", "faststart", tmp_path / "whole.mp4")
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * share)])
    lost = []
    try:
        video = open_video(tmp_path / "cut.mp4")
    except VideoError as error:
        assert share == 0.3 and "cut.mp4" in str(error)
        return
    for i in range(len(video)):
        try:
            assert number_of(video.frame(i)) == i
        except VideoError as error:
            assert f"Frame {i} of cut.mp4 cannot be decoded" in str(error)
            lost.append(i)
    assert 0 < len(lost) <= 4
    assert lost == list(range(lost[0], len(video)))


def test_a_damaged_middle_costs_its_frames_and_no_others(source: Path, tmp_path: Path) -> None:
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = b"\xff" * 300
    (tmp_path / "scratched.mp4").write_bytes(data)
    video = open_video(tmp_path / "scratched.mp4")
    lost = []
    for i in range(len(video)):
        try:
            video.frame(i)
        except VideoError:
            lost.append(i)
    assert len(video) == COUNT
    assert 0 < len(lost) < 20
    assert number_of(video.frame(0)) == 0
    assert not {*range(30), COUNT - 1} & set(lost)


def test_a_codec_nobody_knows_is_told_in_words(source: Path, tmp_path: Path) -> None:
    ffmpeg("-i", source, "-c", "copy", tmp_path / "a.mkv")
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ZZZ"))
    with pytest.raises(VideoError, match=r"a\.mkv"):
        open_video(tmp_path / "a.mkv")


def test_a_change_of_size_is_refused_in_words(source: Path, tmp_path: Path) -> None:
    ffmpeg("-i", source, "-c", "copy", tmp_path / "a.ts")
    ffmpeg("-i", source, "-s", "96x64", "-output_ts_offset", 4, tmp_path / "b.ts")
    both = tmp_path / "both.mpg"
    both.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    video = open_video(both)
    assert number_of(video.frame(5)) == 5
    with pytest.raises(VideoError, match=r"both\.mpg changes its picture size|cannot be decoded"):
        for _ in video.frames(0, len(video)):
            pass


def test_playlists_open_no_other_files(source: Path, tmp_path: Path) -> None:
    (tmp_path / "source.mp4").write_bytes(source.read_bytes())
    (tmp_path / "list.mkv").write_text("ffconcat version 1.0\nfile 'source.mp4'\n")
    ffmpeg("-i", source, "-c", "copy", "-f", "hls", "-hls_time", 1, tmp_path / "list.m3u8")
    (tmp_path / "list.mp4").write_bytes((tmp_path / "list.m3u8").read_bytes())
    for name in ("list.mkv", "list.mp4"):
        with pytest.raises(VideoError, match="cannot be opened"):
            open_video(tmp_path / name)


def test_files_without_a_suffix_are_told_by_content(source: Path, tmp_path: Path) -> None:
    (tmp_path / "IMG_0001").write_bytes(source.read_bytes())
    assert len(open_video(tmp_path / "IMG_0001")) == COUNT


@pytest.mark.parametrize("name", ["sonosite-anon-eye1-video.mp4", "clarius-ocular-short.mp4"])
def test_real_recordings_are_as_ffmpeg_shows_them(vivim_data: Path, name: str) -> None:
    path = vivim_data / "reader_samples" / name
    video = open_video(path)
    shown = as_ffmpeg_shows(path, video.shape)
    assert len(video) == len(shown)
    for i in (len(video) - 1, 0, 37, 12):
        np.testing.assert_array_equal(video.frame(i), shown[i])


def test_previews_are_key_frames_under_their_own_number(tmp_path: Path) -> None:
    options = {"g": "20", "bf": "3", "crf": "10", "sc_threshold": "0", "keyint_min": "20"}
    video = open_video(encode(tmp_path / "a.mp4", "libx264", options))
    for asked, key in ((41, 40), (33, 40), (66, 60), (3, 0)):
        number, picture = video.preview(asked)
        assert number == key == number_of(picture) and picture.shape == video.shape[1:]
    video.frame(35)
    assert video.ready(35) and not video.ready(3)
    assert video.preview(36)[0] == 35  # a frame in memory that is nearer
    assert video.fetch(69, lambda: True) is None  # stopped
    assert [number_of(video.frame(i)) for i in (69, 50, 62, 38)] == [69, 50, 62, 38]


def test_a_scrubber_shows_something_at_once_and_tells_when_the_frame_is_there(source: Path) -> None:
    video, told = open_video(source), queue.Queue()
    gate, fetch = threading.Event(), video.fetch
    video.fetch = lambda i, stop: fetch(i, stop) if gate.wait(60) else None
    scrubber = Scrubber(video, told.put, lambda i, error: told.put(error))
    number, _ = scrubber.show(60)
    assert number != 60
    gate.set()
    assert told.get(timeout=60) == 60
    number, picture = scrubber.show(60)
    assert number == 60 == number_of(picture)
    scrubber.close()


@pytest.mark.parametrize("program", [False, True])
def test_a_video_is_written_with_and_without_an_encoder_in_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bool
) -> None:
    """PyAV may have been built without x264; then imageio-ffmpeg's program encodes the same frames."""
    if program:
        monkeypatch.setattr("av.codecs_available", set())
    frames = make_phantom(frames=6, size=(48, 64)).frames
    video = open_video(write_video(tmp_path / "a.mp4", frames, 20.0, crf=1))
    assert len(video) == 6 and video.fps == pytest.approx(20)
    for t in range(6):
        red = frames[t].reshape(48, 64, -1)[..., 0]
        assert np.abs(video.frame(t)[..., 0].astype(int) - red).mean() < 4
    video.close()
