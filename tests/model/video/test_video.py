"""Videos, frame-exact: every frame carries its number in its pixels and is asked for in random order."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pydicom.examples
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numbered import COUNT, HEIGHT, WIDTH, encode, number_of, numbered
from PIL import Image
from vivim import open_video
from vivim.errors import VideoError
from vivim.video import LazyFrames, Video, make_phantom, write_video
from vivim.video.base import FrameCache
from vivim.video.readers.image_folder import natural_key

IRREGULAR = list(np.cumsum(1 + np.random.default_rng(0).integers(10, 90, COUNT)))
KINDS = {
    "h264-bframes-long-gop.mp4": ("libx264", {"g": "250", "bf": "3", "crf": "10"}, None),
    "h264-short-gop.mov": ("libx264", {"g": "12", "bf": "2", "crf": "10"}, None),
    "h264-variable-rate.mkv": ("libx264", {"g": "30", "bf": "2", "crf": "10"}, [int(t) for t in IRREGULAR]),
    "mpeg4.avi": ("mpeg4", {"g": "12", "qscale": "2"}, None),
    "mjpeg.avi": ("mjpeg", {"qscale": "2", "strict": "unofficial"}, None),
    "vp9.webm": ("libvpx-vp9", {"g": "40", "crf": "15", "deadline": "realtime", "cpu-used": "8"}, None),
    "ffv1.mkv": ("ffv1", {}, None),
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("encoded"), {}

    def get(name: str) -> Path:
        if name not in made:
            codec, options, times = KINDS[name]
            made[name] = encode(folder / name, codec, options, times)
        return made[name]

    return get


@pytest.mark.parametrize("name", KINDS)
def test_any_frame_in_any_order_is_the_right_one(encoded, name: str) -> None:
    video = open_video(encoded(name))
    assert isinstance(video, Video)
    assert len(video) == COUNT
    assert video.shape == (COUNT, HEIGHT, WIDTH, 3)
    order = np.random.default_rng(1).permutation(COUNT)
    video._cache = FrameCache(5 * HEIGHT * WIDTH * 3)  # small, so that most frames are decoded again
    for i in order:
        assert number_of(video.frame(int(i))) == i, name
    assert [number_of(f) for f in video.frames(0, COUNT)] == list(range(COUNT))
    video.close()


def test_lossless_frames_come_back_to_the_bit(encoded) -> None:
    video = open_video(encoded("ffv1.mkv"))
    for i in (0, 33, 5, 69):
        np.testing.assert_array_equal(video.frame(i), numbered(i))


def test_times_of_a_variable_rate_are_kept(encoded) -> None:
    video = open_video(encoded("h264-variable-rate.mkv"))
    for i in (0, 7, 40):
        assert video.frame_time(i) == pytest.approx((IRREGULAR[i] - IRREGULAR[0]) / 1000, abs=2e-3)


def test_threads_may_read_at_once(encoded) -> None:
    video = open_video(encoded("h264-short-gop.mov"))
    wrong: list[int] = []

    def read(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, COUNT, 40):
            if number_of(video.frame(int(i))) != i:
                wrong.append(int(i))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_says_so(encoded, tmp_path: Path, share: float) -> None:
    data = encoded("h264-short-gop.mov").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        video = open_video(tmp_path / "cut.mp4")
        for i in range(len(video)):
            video.frame(i)


def test_a_cut_mkv_gives_what_it_has_and_then_says_so(encoded, tmp_path: Path) -> None:
    data = encoded("ffv1.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    video = open_video(tmp_path / "cut.mkv")
    assert 0 < len(video) < COUNT
    assert number_of(video.frame(3)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"this is text, not a video", "cannot be opened"),
        ("empty.mp4", b"", "is empty"),
        ("list.mp4", b"#EXTM3U\nhttp://example.org/a.ts\n", "cannot be opened|no video|damaged|decoded"),
        (
            "concat.mkv",
            b"ffconcat version 1.0\nfile '/etc/passwd'\n",
            "cannot be opened|no video|damaged|decoded",
        ),
        ("note.txt", b"hello", "of a kind that is not read"),
        ("broken.tif", b"II*\x00junkjunkjunk", "TIFF"),
        ("broken.gif", b"GIF89ajunk", "GIF"),
        ("broken.dcm", b"\x00" * 128 + b"DICMjunk", "DICOM"),
    ],
)
def test_bad_files_are_one_clear_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message):
        open_video(tmp_path / name)


def test_what_is_not_there_or_not_local_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no file or folder"):
        open_video(tmp_path / "absent.mp4")
    for address in ("http://example.org/a.mp4", "concat:a.mp4|b.mp4", "rtsp://host/stream"):
        with pytest.raises(VideoError, match="not a local file"):
            open_video(address)
    with pytest.raises(VideoError, match="no pictures"):
        open_video(tmp_path)


def test_closed_videos_and_absent_frames_are_errors(encoded) -> None:
    video = open_video(encoded("mpeg4.avi"))
    for i in (-1, COUNT):
        with pytest.raises(IndexError):
            video.frame(i)
    video.close()
    video.close()
    with pytest.raises(VideoError, match="has been closed"):
        video.frame(0)


def test_memory_stays_bounded(encoded) -> None:
    video = open_video(encoded("h264-short-gop.mov"))
    video._cache = FrameCache(10 * HEIGHT * WIDTH * 3)
    for _ in video.frames(0, COUNT):
        pass
    assert len(video._cache._values) <= 10


def test_folders_are_in_natural_order_and_keep_grey_grey(tmp_path: Path) -> None:
    for i in (1, 2, 10, 11):
        Image.fromarray(np.full((6, 5), i, np.uint8)).save(tmp_path / f"frame{i}.png")
    (tmp_path / ".hidden.png").write_bytes(b"")
    video = open_video(tmp_path)
    assert video.shape == (4, 6, 5)
    assert [int(f[0, 0]) for f in video.frames(0, 4)] == [1, 2, 10, 11]
    Image.fromarray(np.zeros((7, 5), np.uint8)).save(tmp_path / "frame12.png")
    with pytest.raises(VideoError, match=r"frame12\.png is 5x7"):
        open_video(tmp_path)


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_natural_order_is_by_number(numbers: list[int]) -> None:
    names = [f"f{n}.png" for n in numbers]
    assert sorted(names, key=natural_key) == [f"f{n}.png" for n in sorted(numbers)]


@pytest.mark.parametrize("imagej", [True, False])
def test_tiff_stacks(tmp_path: Path, imagej: bool) -> None:
    stack = np.random.default_rng(0).integers(0, 60000, (5, 8, 9)).astype(np.uint16)
    options = {"imagej": True, "metadata": {"axes": "TYX", "unit": "mm", "finterval": 0.1}} if imagej else {}
    tifffile.imwrite(tmp_path / "s.tif", stack, resolution=(4.0, 2.0), photometric="minisblack", **options)
    video = open_video(tmp_path / "s.tif")
    assert video.shape == (5, 8, 9)
    for i in (4, 0, 2):
        np.testing.assert_array_equal(video.frame(i), stack[i])
    if imagej:
        assert video.pixel_spacing_mm == pytest.approx((0.5, 0.25))
        assert video.fps == pytest.approx(10)


def test_gif_frames_are_those_pillow_shows(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.roll(numbered(i), i, axis=1)).convert("P") for i in range(6)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=80, loop=0)
    video = open_video(tmp_path / "a.gif")
    assert len(video) == 6
    assert video.fps == pytest.approx(12.5)
    for i in (5, 0, 3):
        with Image.open(tmp_path / "a.gif") as gif:
            gif.seek(i)
            np.testing.assert_array_equal(video.frame(i), np.asarray(gif.convert("RGB")))


def test_the_ultrasound_cine_of_pydicom() -> None:
    path = pydicom.examples.get_path("ybr_color")
    video = open_video(path)
    dataset = pydicom.dcmread(path)
    assert video.shape == (30, 240, 320, 3)
    frames = pydicom.pixels.pixel_array(dataset)
    for i in (0, 29, 13):
        np.testing.assert_array_equal(video.frame(i), frames[i])
    region = dataset.SequenceOfUltrasoundRegions[0]
    assert video.pixel_spacing_mm == pytest.approx((region.PhysicalDeltaY * 10, region.PhysicalDeltaX * 10))
    assert video.fps == pytest.approx(1000 / float(dataset.FrameTime))


def test_identity_is_of_content_not_of_place(encoded, tmp_path: Path) -> None:
    path = encoded("mpeg4.avi")
    (tmp_path / "copy.avi").write_bytes(path.read_bytes())
    assert open_video(tmp_path / "copy.avi").identity() == open_video(path).identity()
    assert open_video(encoded("mjpeg.avi")).identity() != open_video(path).identity()


@pytest.fixture(scope="module")
def lazy(encoded) -> tuple[LazyFrames, np.ndarray]:
    video = open_video(encoded("ffv1.mkv"))
    return LazyFrames(video), np.stack([numbered(i) for i in range(COUNT)])


first = st.one_of(st.integers(-COUNT, COUNT - 1), st.slices(COUNT))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.one_of(
        first, st.tuples(first, st.slices(HEIGHT)), st.tuples(first, st.slices(HEIGHT), st.slices(WIDTH))
    )
)
def test_lazy_frames_index_as_numpy_does(lazy, key) -> None:
    frames, array = lazy
    np.testing.assert_array_equal(frames[key], array[key])
    assert (frames.shape, frames.ndim, frames.dtype) == (array.shape, array.ndim, array.dtype)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_written_videos_play_back(tmp_path: Path, height: int, width: int) -> None:
    frames = [numbered(i)[:height, :width] for i in range(20)]
    video = open_video(write_video(tmp_path / "out.mp4", frames, 12.5))
    assert len(video) == 20
    assert video.fps == pytest.approx(12.5)
    assert [number_of(f) for f in video.frames(0, 20)] == list(range(20))
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "none.mp4", [], 10)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("texture", ["speckle", "mucosa"])
def test_phantoms_are_the_same_by_seed_and_move(texture: str) -> None:
    one, same, other = (make_phantom(6, (96, 128), texture, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frames, same.frames)
    assert (one.frames != other.frames).any()
    assert one.masks.shape == (6, 96, 128) and set(np.unique(one.masks)) == {0, 1}
    assert (one.masks[0] != one.masks[5]).any()
    grey = one.frames if one.frames.ndim == 3 else one.frames.mean(-1)
    assert abs(grey[one.masks > 0].mean() - grey[:, 30:60, 40:80][one.masks[:, 30:60, 40:80] == 0].mean()) > 5
    with pytest.raises(ValueError, match="Unknown texture"):
        make_phantom(texture="bone")


@pytest.mark.parametrize(
    ("name", "frames"),
    [("sonosite-anon-eye1-video.mp4", None), ("tongue_us.avi", None), ("laryngo_highspeed.gif", None)],
)
def test_real_recordings(vivim_data: Path, name: str, frames: int | None) -> None:
    path = vivim_data / "reader_samples" / name
    video = open_video(path)
    middle = len(video) // 2
    late = video.frame(len(video) - 1)
    sought = np.array(video.frame(middle))
    fresh = open_video(path)
    for i in range(middle + 1):
        straight = fresh.frame(i)
    np.testing.assert_array_equal(sought, straight)
    assert late.shape == video.shape[1:]
