"""What stands before the pixels of a NIfTI file, checked before anything is unpacked or read because it says so.

A packed file of a few megabytes may claim that its pixels begin, or that an extension of its header ends, gigabytes
further on; whoever believes it unpacks zeros for minutes. Source: nifti1.h and nifti2.h of the NIfTI DFWG.
"""

import gzip
import struct
from pathlib import Path
from typing import BinaryIO, cast

MOST_BYTES = 16 * 2**20
"""Where pixels begin at the latest: headers are some hundred bytes, extensions some thousand."""

_KINDS = {348: ("f", 108), 540: ("q", 168)}
"""By the size of the header, of NIfTI-1 and NIfTI-2: of what type, and where, the place of the pixels is noted."""


def check_start(path: Path) -> None:
    """Make sure that the header is one, that its extensions fit before the pixels, and these begin near the start.

    Raises `ValueError` if not. Raises `OSError` or `EOFError` or `zlib.error` if it cannot be read or
    unpacked.
    """
    packed = path.name.lower().endswith(".gz")
    with cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb") as file:
        head = file.read(544)
        for order in "<>":
            size = struct.unpack(f"{order}i", head[:4].ljust(4, b"\0"))[0]
            if size in _KINDS and len(head) >= size:
                kind, place = _KINDS[size]
                (start,) = struct.unpack_from(f"{order}{kind}", head, place)
                break
        else:
            raise ValueError("it has no header")
        if not start <= MOST_BYTES:
            raise ValueError("its pixels begin too far from its start")
        if head[size : size + 1] > b"\0":
            _check_extensions(file, order, size + 4, int(start))


def _check_extensions(file: BinaryIO, order: str, at: int, end: int) -> None:
    while at + 16 <= end:
        file.seek(at)
        length = file.read(4)
        size = struct.unpack(f"{order}i", length)[0] if len(length) == 4 else 0
        if not 8 <= size <= end - at:
            raise ValueError("an extension of its header is damaged")
        at += size
