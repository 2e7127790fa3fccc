"""Videos of other people's machines: recovery points, mirrors, pixels that are not square, times that restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numbered import COUNT, encode, number_of
from test_hard_videos import LONG, as_ffmpeg_shows, ffmpeg, numbers_at_random
from vivim import open_video
from vivim.errors import VideoError
from vivim.video.base import FrameCache


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("odd") / "source.mp4", "libx264", LONG)


RECOVERING = {
    "refresh.mp4": "-x264-params intra-refresh=1:keyint=20:bframes=0:scenecut=0",
    "refresh-b.mkv": "-x264-params intra-refresh=1:keyint=15:bframes=2:scenecut=0",
    "refresh.ts": "-x264-params intra-refresh=1:keyint=12:scenecut=0",
    "open.mp4": "-x264-params open-gop=1:keyint=12:bframes=3:scenecut=0",
    "open.ts": "-c:v mpeg2video -q:v 3 -g 9 -bf 2",
    "open-hevc.mkv": "-c:v libx265 -x265-params log-level=none:open-gop=1:keyint=12:bframes=3",
}


@pytest.mark.parametrize("name", RECOVERING)
def test_every_frame_in_any_order_where_key_frames_are_not_whole(
    source: Path, tmp_path: Path, name: str
) -> None:
    ffmpeg("-i", source, "-crf", 12, *RECOVERING[name].split(), tmp_path / name)
    video = open_video(tmp_path / name)
    truth = as_ffmpeg_shows(tmp_path / name, video.shape)
    assert len(video) == len(truth) == COUNT
    for size in (1, 2**24):
        video._cache = FrameCache(size)
        for i in np.random.default_rng(size).permutation(COUNT):
            np.testing.assert_array_equal(video.frame(int(i)), truth[i], err_msg=f"frame {i}")
    for i in range(0, COUNT, 7):
        video._cache.drop_to(0)
        at, picture = video.preview(i)
        assert number_of(picture) == at


@pytest.mark.parametrize("turn", (0, 90, 180, 270))
@pytest.mark.parametrize("mirror", ((), ("-display_hflip",), ("-display_vflip",)))
def test_mirrors_and_turns_are_applied_as_ffmpeg_does(
    source: Path, tmp_path: Path, turn: int, mirror: tuple
) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", turn, *mirror, "-i", source, "-c", "copy", path)
    video = open_video(path)
    np.testing.assert_array_equal(video.frame(10), as_ffmpeg_shows(path, video.shape)[10])
    video._cache.drop_to(0)
    assert np.abs(video.preview(0)[1].astype(int) - video.frame(0)).mean() < 3


@pytest.mark.parametrize(
    ("name", "how", "aspect"),
    [
        ("stream.mp4", "-vf setsar=4/3", 4 / 3),
        ("narrow.mkv", "-vf setsar=8/9", 8 / 9),
        ("container.mkv", "-c copy -aspect 16:9", (16 / 9) / (64 / 48)),
        ("mpeg2.mpg", "-vf setdar=16/9 -c:v mpeg2video -q:v 3", 4 / 3),
        ("turned.mp4", "-c copy -aspect 16:9", (64 / 48) / (16 / 9)),
        ("square.mp4", "-vf setsar=1", 1.0),
    ],
)
def test_the_shape_of_a_pixel_is_the_stream_s(
    source: Path, tmp_path: Path, name: str, how: str, aspect: float
) -> None:
    ffmpeg("-i", source, *how.split(), tmp_path / name)
    if name == "turned.mp4":
        ffmpeg("-display_rotation", 90, "-i", tmp_path / name, "-c", "copy", tmp_path / "quarter.mp4")
        name = "quarter.mp4"
    video = open_video(tmp_path / name)
    assert video.pixel_aspect == pytest.approx(aspect, rel=2e-3)


@pytest.mark.parametrize("ending", ("mpg", "ts"))
@pytest.mark.parametrize("bframes", (0, 2))
def test_times_that_restart_go_on(source: Path, tmp_path: Path, ending: str, bframes: int) -> None:
    parts = [tmp_path / f"{k}.{ending}" for k in range(3)]
    for k, part in enumerate(parts):
        ffmpeg("-ss", k, "-i", source, "-t", 0.8, "-c:v", "mpeg2video", "-q:v", 2, "-bf", bframes, part)
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    video = open_video(joined)
    assert len(video) == 60
    assert [video.frame_time(i) for i in (0, 19, 20, 40, 59)] == pytest.approx(
        [0, 0.76, 0.8, 1.6, 2.36], abs=0.045
    )
    times = [video.frame_time(i) for i in range(60)]
    assert times == sorted(times) and len(set(times)) == 60
    video._cache = FrameCache(1)
    numbers = {int(i): number_of(video.frame(int(i))) for i in np.random.default_rng(1).permutation(60)}
    assert numbers == {i: 25 * (i // 20) + i % 20 for i in range(60)}


def test_times_that_leap_to_another_day_go_on(source: Path, tmp_path: Path) -> None:
    for k, offset in enumerate((0, 7200)):
        ffmpeg("-i", source, "-t", 1, "-output_ts_offset", offset, "-c", "copy", tmp_path / f"{k}.ts")
    (tmp_path / "joined.ts").write_bytes(b"".join((tmp_path / f"{k}.ts").read_bytes() for k in range(2)))
    video = open_video(tmp_path / "joined.ts")
    assert video.frame_time(len(video) - 1) == pytest.approx((len(video) - 1) / 25, abs=0.2)


@pytest.mark.parametrize("name", ("raw.h264", "raw.hevc", "b.avi"))
def test_times_that_are_missing_are_evenly_spaced(source: Path, tmp_path: Path, name: str) -> None:
    codec = ["-c:v", "libx265", "-x265-params", "log-level=none"] if "hevc" in name else ["-c", "copy"]
    ffmpeg("-i", source, *codec, tmp_path / name)
    video = open_video(tmp_path / name)
    times = np.array([video.frame_time(i) for i in range(len(video))])
    np.testing.assert_allclose(np.diff(times), 1 / video.fps, rtol=0.02)


def test_a_true_pause_is_kept(source: Path, tmp_path: Path) -> None:
    ffmpeg(
        "-i", source, "-vf", "setpts='if(lt(N,10),N,N+500)/25/TB'", "-fps_mode", "vfr", tmp_path / "pause.mp4"
    )
    video = open_video(tmp_path / "pause.mp4")
    assert video.frame_time(10) - video.frame_time(9) == pytest.approx(20.04, abs=0.05)


CONTAINERS = ("ts", "mts", "m2ts", "flv", "ogv", "nut", "mxf", "3gp", "y4m", "ivf", "vob", "wtv", "h264")


@pytest.mark.parametrize("ending", CONTAINERS)
def test_what_ffmpeg_decodes_is_known_by_its_content(source: Path, tmp_path: Path, ending: str) -> None:
    codec = {"ogv": ["-c:v", "libtheora", "-q:v", 9], "ivf": ["-c:v", "libvpx", "-b:v", "2M"], "y4m": []}
    codec |= {
        "mxf": ["-c:v", "mpeg2video", "-q:v", 2],
        "vob": ["-c:v", "mpeg2video", "-q:v", 2],
        "wtv": codec["y4m"],
    }
    path = tmp_path / f"a.{ending}"
    ffmpeg("-i", source, *codec.get(ending, ["-c", "copy"]), path)
    for name in (path.name, "no_ending", "named.xyz", "named.mp4", "IM_0001.dat", "export.tmp"):
        if name != path.name:
            shutil.copy(path, tmp_path / name)
        video = open_video(tmp_path / name)
        assert abs(len(video) - COUNT) <= 1 and abs(number_of(video.frame(9)) - 9) <= 1
        video.close()


@pytest.mark.parametrize(
    "content", (b"frame,status\n0,empty\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(300), bytes(5000))
)
def test_what_is_no_video_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    for name in ("notes.csv", "notes", "notes.mp4", "notes.ts"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=name):
            open_video(tmp_path / name)


def test_interlaced_material_is_told(source: Path, tmp_path: Path) -> None:
    options = (
        "-vf scale=64:64,tinterlace=interleave_top,fieldorder=tff -c:v mpeg2video -q:v 2 -flags +ildct+ilme"
    )
    ffmpeg("-i", source, *options.split(), tmp_path / "fields.mpg")
    assert "interlaced" in " ".join(open_video(tmp_path / "fields.mpg").notes)
    assert open_video(source).notes == ()


def test_numbers_still_come_in_any_order(source: Path) -> None:
    asked, came = numbers_at_random(source)
    assert asked == came
