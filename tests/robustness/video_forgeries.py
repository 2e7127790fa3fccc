"""Forged videos: files that claim to be enormous, or unpack to it; `mutate_videos` tries them.

Each takes a whole file and changes it where it lies.
"""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

Forgery = Callable[[Path, random.Random], None]
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1)


def huge_numbers(path: Path, rng: random.Random) -> None:
    """Write the largest numbers over some bytes of the header, where sizes and counts stand."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 4))):
        if len(data) > 16:
            value, width = rng.choice(NUMBERS), rng.choice((2, 4))
            at = rng.randrange(min(len(data) - 8, 2048))
            data[at : at + width] = (value & (2 ** (8 * width) - 1)).to_bytes(
                width, rng.choice(("big", "little"))
            )
    path.write_bytes(data)


def large_png(path: Path, rng: random.Random) -> None:
    """A picture that says it is gigapixels, or is: zeros pack a thousandfold."""
    side = rng.choice((13_000, 30_000, 2**31 - 1))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(side, 13_000) * 13_001), 1)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def packed_tiff(path: Path, rng: random.Random) -> None:
    """A deflated page of gigabytes of zeros."""
    import numpy as np
    import tifffile

    side = rng.choice((5_000, 20_000))
    tifffile.imwrite(path, np.zeros((side, side), np.uint8), compression="zlib")


def many_samples(path: Path, rng: random.Random) -> None:
    """A page of which every pixel has thousands of samples."""
    import tifffile

    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = rng.choice(("SamplesPerPixel", "ImageWidth", "ImageLength", "StripByteCounts", "BitsPerSample"))
        tiff.pages[0].tags[tag].overwrite(rng.choice((65535, 0, 8191)))


def bomb_gzip(path: Path, rng: random.Random) -> None:
    """A packed NIfTI whose header says what its zeros then unpack to: gigabytes."""
    head = bytearray(gzip.decompress(path.read_bytes())[:352])
    side, times = rng.choice(((2_000, 300), (4_000, 30_000), (32_767, 32_767)))
    head[40:56] = struct.pack("<8h", 4, side, side, 1, times, 1, 1, 1)
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = [pack.compress(bytes(head)), *(pack.compress(bytes(2**20)) for _ in range(1500)), pack.flush()]
    path.write_bytes(b"".join(packed))


def bomb_deflated(path: Path, rng: random.Random) -> None:
    """A deflated DICOM that goes on for gigabytes."""
    import pydicom

    data = path.read_bytes()
    start = 144 + int(pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength)
    pack = zlib.compressobj(1, zlib.DEFLATED, -15)
    element = struct.pack("<HH2s2xI", 0x7FE1, 0x0010, b"OB", 2**32 - 2)
    packed = [pack.compress(element), *(pack.compress(bytes(2**20)) for _ in range(3000)), pack.flush()]
    path.write_bytes(data[:start] + b"".join(packed))


def forged_header(path: Path, rng: random.Random) -> None:
    """A DICOM whose header claims other sizes, counts and kinds than its pixels have."""
    import pydicom

    data = pydicom.dcmread(path)
    name, values = rng.choice(
        (
            ("Rows", (65535, 0, 8000)),
            ("Columns", (65535, 1)),
            ("NumberOfFrames", (2**31 - 1, 0, -1, 999_999)),
            ("BitsAllocated", (64, 1, 0, 32)),
            ("BitsStored", (0, 65535, 33)),
            ("SamplesPerPixel", (65535, 0, 3)),
            ("PhotometricInterpretation", ("PALETTE COLOR", "MONOCHROME1", "X", "YBR_PARTIAL_420")),
            ("PixelRepresentation", (1, 7)),
            ("WindowWidth", (0, -5, 10**300)),
            ("FrameTime", (0, -1, 10**30)),
            ("PixelSpacing", ([0, 0], [-1, 2], [10**30, 1])),
        )
    )
    with pydicom.config.disable_value_validation():
        setattr(data, name, rng.choice(values))
        if name == "WindowWidth":
            data.WindowCenter = 0
        data.save_as(path)


def forgeries_of(path: Path) -> tuple[Forgery, ...]:
    """What can be forged in a file of this kind."""
    return {
        ".png": (large_png,),
        ".tif": (packed_tiff, many_samples, many_samples),
        ".gz": (bomb_gzip,),
        ".dcm": (bomb_deflated, forged_header) if path.stem == "deflated" else (forged_header, forged_header),
    }.get(path.suffix, ())
