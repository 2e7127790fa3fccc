"""Pixels of DICOM files that end too early: what is whole of them.

A file may lack the mark that ends its pixels, or be cut anywhere in them, as copies that were broken off are.
Source: DICOM PS3.5 A.4 and table A.4-2.
"""

from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, parse_basic_offsets
from pydicom.filereader import read_partial

PIXEL_DATA = 0x7FE00010
ELEMENT_HEAD, ITEM_HEAD = 12, 8
"""Bytes before the value of a long explicit element, and before that of an item."""

UNDEFINED = 0xFFFFFFFF
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_FIRSTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""How a coded picture begins: JPEG and JPEG-LS, JPEG 2000 without and with boxes around it."""


class Items(NamedTuple):
    """Place and length of each item's value, as far as it is in the file, whether it is whole, and if all end well."""

    values: list[tuple[int, int, bool]]
    ended: bool


def items_of(file: BinaryIO) -> Items:
    """The items from here on."""
    at = file.tell()
    values: list[tuple[int, int, bool]] = []
    end = file.seek(0, 2)
    while at + ITEM_HEAD <= end:
        file.seek(at)
        head = file.read(ITEM_HEAD)
        if head[:4] != _ITEM:
            return Items(values, head[:4] == _END)
        length, place = int.from_bytes(head[4:], "little"), at + ITEM_HEAD
        values.append((place, min(length, end - place), place + length <= end))
        at = place + length
    return Items(values, False)


def unended_pixels(path: Path) -> tuple[Dataset, int] | None:
    """The header alone of a file whose coded pixels do not end, and where their value begins. None of any other."""
    with path.open("rb") as file:
        dataset = read_partial(file, lambda tag, vr, length: tag == 0 or tag >= PIXEL_DATA)
        if file.read(ELEMENT_HEAD) != b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff":
            return None
        start = file.tell()
        return None if items_of(file).ended else (dataset, start)


def read_whole_frames(path: Path, start: int, count: int) -> list[bytes]:
    """The coded frames that are whole, of `count`, of encapsulated pixels whose value begins at `start`."""
    with path.open("rb") as file:
        file.seek(start)
        offsets = parse_basic_offsets(file)
        first = file.tell()
        items = items_of(file).values
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
    return [
        b"".join(values[a:b]) for a, b in pairwise(bounds) if a < b and all(whole for *_, whole in items[a:b])
    ]


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
