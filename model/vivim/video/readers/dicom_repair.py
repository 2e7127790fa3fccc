"""Pixels of DICOM files that end too early: what is whole of them.

A file may lack the mark that ends its pixels, or be cut anywhere in them, as copies that were broken off are.
Source: DICOM PS3.5 A.4 and table A.4-2.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, parse_basic_offsets
from pydicom.filereader import read_partial

PIXEL_DATA = 0x7FE00010
ELEMENT_HEAD, ITEM_HEAD = 12, 8
"""Bytes before the value of a long explicit element, and before that of an item."""

UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_FIRSTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""How a coded picture begins: JPEG and JPEG-LS, JPEG 2000 without and with boxes around it."""


def items_of(file: BinaryIO) -> Iterator[tuple[int, int, bool]]:
    """Place and length of each item's value from here on, as far as it is in the file, and whether it is whole."""
    at = file.tell()
    end = file.seek(0, 2)
    while at + ITEM_HEAD <= end:
        file.seek(at)
        head = file.read(ITEM_HEAD)
        if head[:4] != _ITEM:
            return
        length, place = int.from_bytes(head[4:], "little"), at + ITEM_HEAD
        yield place, min(length, end - place), place + length <= end
        at = place + length


def before_pixels(path: Path) -> tuple[Dataset, int | None]:
    """The header alone, and where the value of encapsulated pixels begins behind it. None where there are none."""
    with path.open("rb") as file:
        dataset = read_partial(file, lambda tag, vr, length: tag == 0 or tag >= PIXEL_DATA)
        head = file.read(ELEMENT_HEAD)
        return dataset, file.tell() if head == b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" else None


def read_whole_frames(path: Path, start: int, count: int) -> list[bytes]:
    """The coded frames that are whole, of `count`, of encapsulated pixels whose value begins at `start`."""
    with path.open("rb") as file:
        file.seek(start)
        offsets = parse_basic_offsets(file)
        first = file.tell()
        items = list(items_of(file))
        values = []
        for place, length, _ in items:
            file.seek(place)
            values.append(file.read(length))
    if count == 1:
        bounds = [0, len(items)]
    elif len(offsets) > 1:
        places = {place - ITEM_HEAD - first: i for i, (place, _, _) in enumerate(items)}
        bounds = [places[offset] for offset in offsets if offset in places] + [len(items)]
    elif any(value.startswith(_FIRSTS) for value in values):
        bounds = [i for i, value in enumerate(values) if value.startswith(_FIRSTS)] + [len(items)]
    else:
        bounds = list(range(len(items) + 1))
    return [b"".join(values[a:b]) for a, b in pairwise(bounds) if a < b and all(whole for *_, whole in items[a:b])]


def put_whole_frames(dataset: Dataset, frames: list[bytes]) -> None:
    """Give a header without pixels these coded frames, in memory."""
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def native_frames(path: Path, dataset: Dataset, count: int) -> int:
    """How many of `count` frames are whole in the file, if they are not coded. All of coded ones."""
    element = dataset.get_item("PixelData", keep_deferred=True)
    assert isinstance(element, RawDataElement)
    length, start = element.length, element.value_tell
    there = path.stat().st_size - start
    return count if length == UNDEFINED or there >= length else there * count // length
