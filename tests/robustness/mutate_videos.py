"""Open videos that were damaged or forged in a thousand ways: ``python tests/robustness/mutate_videos.py --first 7``.

Every copy is opened and a few of its frames are read, in a process of its own that is watched from outside: it must
end well or with one of our own errors, within ten seconds and 2 GB of resident memory. Prints counts by kind, and exits
with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import cut, flip_bits, noise, stretch, swap_for_folder, take_away, zeros
from video_forgeries import forgeries_of, huge_numbers

FRAMES, HEIGHT, WIDTH = 12, 48, 64
SECONDS, BYTES = 10.0, 2 * 10**9
SUFFIXES = (
    ".mp4",
    ".mkv",
    ".avi",
    ".webm",
    ".gif",
    ".tif",
    ".dcm",
    ".nii",
    ".nii.gz",
    ".png",
    ".wmv",
    ".mpg",
    "",
)


def wrong_ending(path: Path, rng: random.Random) -> Path:
    return path.rename(path.with_name("a" + rng.choice(SUFFIXES)))


Mutation = Callable[[Path, random.Random], Any]
ANY: tuple[Mutation, ...] = (
    flip_bits, flip_bits, flip_bits, flip_bits, cut, cut, zeros, noise, stretch, swap_for_folder, take_away,
    wrong_ending, wrong_ending, huge_numbers, huge_numbers, huge_numbers,
)  # fmt: skip


def originals(root: Path) -> list[Path]:
    """A whole video of every kind that is read."""
    import av
    import imagecodecs
    import nibabel
    import pydicom
    import tifffile
    from PIL import Image
    from pydicom import examples
    from vivim.video import make_phantom

    pictures = make_phantom(FRAMES, size=(HEIGHT, WIDTH)).frames
    colour = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, -1)
    grey = np.ascontiguousarray(colour[..., 0])
    codecs = {".mp4": "libx264", ".mov": "mpeg4", ".mkv": "ffv1", ".avi": "mjpeg", ".webm": "libvpx-vp9"}
    codecs |= {".m4v": "mpeg4", "b.mkv": "libx265", ".wmv": "wmv2", ".mpg": "mpeg1video"}
    codecs |= {"refresh.ts": "libx264", ".flv": "flv1", ".y4m": "wrapped_avframe", ".vob": "mpeg2video"}
    for suffix, codec in codecs.items():
        with av.open(str(root / (f"a{suffix}" if suffix.startswith(".") else suffix)), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = WIDTH, HEIGHT
            stream.pix_fmt = {"ffv1": "bgr0", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            stream.options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
            if suffix == "refresh.ts":
                stream.options = {"x264-params": "intra-refresh=1:keyint=4:bframes=0"}
            for picture in colour:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    first, *others = [Image.fromarray(picture) for picture in colour]
    first.save(root / "a.gif", save_all=True, append_images=others)
    for name, options in {
        "a": {},
        "b": {"compression": "zlib"},
        "c": {"bigtiff": True, "compression": "lzw"},
    }.items():
        tifffile.imwrite(root / f"{name}.tif", colour, photometric="rgb", **options)
    nibabel.save(nibabel.Nifti1Image(grey.T[:, :, None], np.eye(4)), root / "a.nii")
    nibabel.save(nibabel.Nifti1Image(grey.T[:, :, None], np.eye(4)), root / "a.nii.gz")
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        folder = root / f"pictures{suffix}"
        folder.mkdir()
        for t in range(3):
            exif = Image.Exif()
            exif[0x0112] = t + 5
            Image.fromarray(colour[t]).save(folder / f"{t}{suffix}", exif=exif)
    shutil.copy(examples.get_path("ybr_color"), root / "baseline.dcm")
    plain = examples.get_path("rgb_color")
    for name, syntax in {
        "plain": None,
        "rle": pydicom.uid.RLELossless,
        "deflated": "1.2.840.10008.1.2.1.99",
    }.items():
        data = pydicom.dcmread(plain)
        if name == "rle":
            data.compress(syntax)
        elif syntax:
            data.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        data.save_as(root / f"{name}.dcm")
    data = pydicom.dcmread(plain)
    coders = {"ls": (pydicom.uid.JPEGLSLossless, imagecodecs.jpegls_encode)}
    coders["2000"] = (pydicom.uid.JPEG2000Lossless, lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k"))
    coders["boxed"] = (
        pydicom.uid.JPEG2000Lossless,
        lambda p: imagecodecs.jpeg2k_encode(p, codecformat="jp2"),
    )
    coders["lossless"] = (pydicom.uid.JPEGLosslessSV1, imagecodecs.ljpeg_encode)
    for name, (syntax, coder) in coders.items():
        _compressed(data, grey[:2], coder, syntax).save_as(root / f"{name}.dcm")
    for name in ("boxed", "ls"):  # without the mark that ends the pixels
        pixels, _, _ = (root / f"{name}.dcm").read_bytes().rpartition(b"\xfe\xff\xdd\xe0")
        (root / f"endless-{name}.dcm").write_bytes(pixels)
    stream_data = (root / "a.mp4").read_bytes()
    _compressed(data, grey, None, pydicom.uid.MPEG4HP41, stream_data).save_as(root / "mpeg.dcm")
    return sorted(root.iterdir())


def _compressed(source: Any, pixels: np.ndarray, coder: Any, syntax: str, stream: bytes | None = None) -> Any:
    """A copy of a DICOM file with other pixels."""
    from copy import deepcopy

    from pydicom.encaps import encapsulate

    data = deepcopy(source)
    data.file_meta.TransferSyntaxUID = syntax
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    del data.PlanarConfiguration
    data.PixelData = encapsulate([stream] if stream else [coder(picture) for picture in pixels])
    data["PixelData"].is_undefined_length = True
    return data


# -- one copy, in a process of its own ----------------------------------------------------------------------------


def use(path: Path) -> None:
    """What looking at a video amounts to."""
    from vivim import open_video

    video = open_video(path)
    for i in {0, 1, len(video) // 2, len(video) - 1} & set(range(len(video))):
        assert video.frame(i).shape == video.shape[1:]
        video.preview(i)
        video.frame_time(i)
    video.identity()
    video.close()


def damage(originals: list[Path], place: Path, number: int, seed: int) -> tuple[Path, str]:
    """Make damaged copy `number`; returns it and what was done."""
    rng = random.Random(f"{seed}-{number}")
    source = originals[number % len(originals)]
    path = place / source.name
    if source.is_dir():
        shutil.copytree(source, path)
        victim = rng.choice(sorted(path.iterdir()))
    else:
        victim = Path(shutil.copy(source, path))
    mutation = rng.choice((*ANY, *forgeries_of(victim) * 3))
    renamed = mutation(victim, rng)
    if isinstance(renamed, Path) and not source.is_dir():
        path = renamed
    return path, f"{source.name}, {mutation.__name__}"


def work(paths: list[Path], numbers: range, seed: int, root: Path, out: Any) -> None:
    """Damage and use copies, one after the other, telling of each."""
    import logging

    import av.logging
    from vivim.errors import VivimError

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    av.logging.set_level(None)
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=root) as name:
            path, what = damage(paths, Path(name), number, seed)
            out.send((number, what, None, 0))
            try:
                use(path)
                how = "read"
            except VivimError as error:
                how = "refused" if str(error).strip() else "WRONG: an error without words"
            except BaseException as error:
                how = f"WRONG: {type(error).__name__}: {error}"
            peak = most_memory()
            out.send((number, what, how, peak))
            if peak > BYTES:
                return


def most_memory() -> int:
    """Bytes that this process has had in memory at most."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had when it started this process, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(count: int, seed: int, report: Callable[[str], None], first: int = 0) -> dict[str, Any]:
    """Try `count` copies; returns counts by outcome, the most memory, the slowest, and what went wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    peak, slowest, number = 0, 0.0, first
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="vivim-mutate") as name:
        root = Path(name)
        (root / "originals").mkdir()
        paths = originals(root / "originals")
        while number < first + count:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=work, args=(paths, range(number, first + count), seed, root, theirs)
            )
            process.start()
            theirs.close()
            what, began = "start", time.monotonic()
            while number < first + count:
                try:
                    how: str | None = f"WRONG: nothing after {SECONDS:.0f} s"
                    memory = 0
                    if ours.poll(SECONDS if what != "start" else 6 * SECONDS):
                        number, what, how, memory = ours.recv()
                except EOFError:
                    how = "WRONG: the process died"
                if how is None:
                    began = time.monotonic()
                    continue
                if memory > BYTES:
                    how = f"WRONG: {memory / 1e9:.1f} GB of memory"
                slowest, peak = max(slowest, time.monotonic() - began), max(peak, memory)
                counts[how.partition(":")[0]] += 1
                number += 1
                if how.startswith("WRONG"):
                    wrong.append(f"{number - 1}: {what}: {how}")
                    report(wrong[-1])
                    break
            process.kill()
            process.join()
    return {
        "count": count, **counts, "peak_mb": round(peak / 1e6), "slowest_s": round(slowest, 2), "wrong": wrong
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first copy, to repeat one")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result = run(args.count, args.seed, lambda line: print(line, flush=True), args.first)
    print(json.dumps(result))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
