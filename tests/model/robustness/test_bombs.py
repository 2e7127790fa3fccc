"""Small files that claim, or unpack, to more than memory holds: refused in words, and at little cost."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import tifffile
from vivim import Session
from vivim.errors import CheckpointError, MasksError, SessionError, VideoError, VivimError
from vivim.io.import_masks import import_masks
from vivim.video import open_video

if TYPE_CHECKING:
    from vivim import Vivim

FRAMES, HEIGHT, WIDTH = 12, 72, 88
"""Of the sample video."""
MEBIBYTES = 300
"""What refusing may cost of memory."""
ZEROS = zlib.compress(bytes(200 * 2**20), 1)
"""200 MB, packed to one."""
PICTURE = zlib.compress(bytes(HEIGHT * (WIDTH + 1)), 1)


def memory(what: str) -> int:
    """MB of memory of this process: ``VmRSS`` now, or ``VmHWM`` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) // 1024


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """Fails a test that took much memory, where the system counts it."""
    counted = Path("/proc/self/clear_refs")
    if counted.exists():
        counted.write_text("5")
        before = memory("VmRSS")
    yield
    if counted.exists():
        assert memory("VmHWM") - before < MEBIBYTES


def refused(kind: type[VivimError], use: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        use()
    assert str(caught.value).strip()
    return str(caught.value)


# -- imports ----------------------------------------------------------------------------------------------------------


def nifti(shape: tuple[int, int, int, int], start: float = 352, extension: int = 0) -> bytes:
    """A header that claims a shape, where its pixels begin, and how long its first extension is."""
    header = bytearray(nibabel.Nifti1Header().binaryblock)
    header[40:56] = struct.pack("<8h", 4, *shape, 1, 1, 1)
    header[70:74] = struct.pack("<hh", 2, 8)
    header[108:112] = struct.pack("<f", start)
    return bytes(header) + (struct.pack("<4B2i", 1, 0, 0, 0, extension, 4) if extension else bytes(4))


WHOLE = (WIDTH, HEIGHT, 1, FRAMES)
NIFTIS = {
    "pixels far away": nifti(WHOLE, start=2.9e9),
    "pixels nowhere": nifti(WHOLE, start=float("nan")),
    "an endless extension": nifti(WHOLE, start=10**7, extension=2**31 - 16),
    "a gigantic shape": nifti((32767, 32767, 32767, 32767)),
}


@pytest.mark.parametrize("head", NIFTIS.values(), ids=NIFTIS)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_that_claims_much(session: Session, tmp_path: Path, head: bytes, ending: str) -> None:
    path, content = tmp_path / f"masks{ending}", head + bytes(2**20)
    path.write_bytes(gzip.compress(content, 1) if ending.endswith("gz") else content)
    refused(MasksError, lambda: list(import_masks(session, path)))
    refused(VideoError, lambda: open_video(path))


def test_a_nifti_with_an_extension_and_a_long_tail_is_read(session: Session, tmp_path: Path) -> None:
    masks = np.ones(WHOLE, np.uint8, "F").tobytes("F")
    content = nifti(WHOLE, start=352 + 64, extension=64) + bytes(56) + masks
    (tmp_path / "masks.nii.gz").write_bytes(gzip.compress(content + bytes(100 * 2**20), 1))
    assert len(list(import_masks(session, tmp_path / "masks.nii.gz"))) == 2 * FRAMES
    assert session.masks[FRAMES - 1].all()


def png(size: tuple[int, int], pixels: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), *more, (b"IDAT", pixels), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PNGS = {
    "gigapixels": png((2**31 - 1, 2**31 - 1), PICTURE),
    "many pixels": png((20_000, 20_000), PICTURE),
    "much text": png((WIDTH, HEIGHT), PICTURE, (b"zTXt", b"a\0\0" + ZEROS)),
    "a large colour profile": png((WIDTH, HEIGHT), PICTURE, (b"iCCP", b"a\0\0" + ZEROS)),
}


@pytest.mark.parametrize("picture", PNGS.values(), ids=PNGS)
def test_pictures_that_claim_much(session: Session, tmp_path: Path, picture: bytes) -> None:
    for t in range(FRAMES):
        (tmp_path / f"{t}.png").write_bytes(picture)
    refused(MasksError, lambda: list(import_masks(session, tmp_path)))


def test_pixels_beyond_a_picture_are_not_unpacked(session: Session, tmp_path: Path) -> None:
    for t in range(FRAMES):
        (tmp_path / f"{t}.png").write_bytes(png((WIDTH, HEIGHT), ZEROS))
    assert len(list(import_masks(session, tmp_path))) == 2 * FRAMES


@pytest.mark.parametrize("forged", ["strips", "sizes"])
def test_a_tiff_that_claims_much(session: Session, tmp_path: Path, forged: str) -> None:
    path = tmp_path / "masks.tif"
    tifffile.imwrite(path, np.zeros(session.shape, np.uint8), compression="zlib")
    at = path.stat().st_size
    with path.open("ab") as file:
        file.write(ZEROS)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            if forged == "strips":
                page.tags["StripOffsets"].overwrite([at])
                page.tags["StripByteCounts"].overwrite([len(ZEROS)])
            else:
                page.tags["ImageWidth"].overwrite(2**20)
                page.tags["ImageLength"].overwrite(2**20)
    refused(MasksError, lambda: list(import_masks(session, path)))


@pytest.mark.parametrize(
    "segmentation",
    [
        {"counts": [0, 10**18], "size": [HEIGHT, WIDTH]},
        {"counts": [2**62] * 8, "size": [10**9, 10**9]},
        {"counts": "o" * 40 + "1", "size": [HEIGHT, WIDTH]},
        [[-1e9, -1e9, 1e9, 1e9] * 400_000],
    ],
    ids=["long run", "overflow", "packed", "long outline"],
)
def test_annotations_that_claim_much(session: Session, tmp_path: Path, segmentation: Any) -> None:
    images = [{"id": t, "height": HEIGHT, "width": WIDTH, "file_name": f"{t}.png"} for t in range(FRAMES)]
    annotation = {"image_id": 0, "category_id": 1, "segmentation": segmentation}
    path = tmp_path / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": [annotation]}))
    refused(MasksError, lambda: list(import_masks(session, path)))


@pytest.mark.parametrize("name", ["masks.npz", "masks.zip", "masks.zarr.zip", "masks.npy"])
def test_packed_arrays_are_no_masks_and_are_not_unpacked(session: Session, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("masks.npy", bytes(2**20))
    assert "no kind of masks" in refused(MasksError, lambda: list(import_masks(session, tmp_path / name)))


# -- sessions ---------------------------------------------------------------------------------------------------------

MASKS = "masks.zarr/zarr.json"
GRID = {"name": "regular", "configuration": {"chunk_shape": [1, 2**40, 2**40]}}
FORGED: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "a gigantic video": (("session.json", {"shape": [10**7, 2**14, 2**14]}),),
    "more pixels than there are": (("session.json", {"shape": [FRAMES, 10**9, 10**9]}),),
    "gigantic masks": ((MASKS, {"shape": [FRAMES, 10**9, 10**9]}),),
    "gigantic chunks": ((MASKS, {"chunk_grid": GRID}),),
    "other packing": ((MASKS, {"codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]}),),
}  # fmt: skip


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_sessions_that_claim_much(session: Session, changes) -> None:
    video, folder = session.video.path, session.folder
    session.correct(0, np.ones(session.shape[1:], np.uint8))
    session.close()
    for name, values in changes:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **values}))
    refused(SessionError, lambda: Session.open(video, folder=folder))


@pytest.mark.parametrize("honest", [True, False])
def test_a_mask_that_unpacks_to_gigabytes(session: Session, honest: bool) -> None:
    """Blosc's own header says how much comes out: it must be a frame, and a frame is all the room there is."""
    from numcodecs.blosc import Blosc

    session.correct(3, np.ones(session.shape[1:], np.uint8))
    session.flush()
    bomb = bytearray(Blosc("lz4").encode(np.zeros(2**20, np.uint8)))
    bomb[4:8] = struct.pack("<I", 2**31 - 100 if honest else HEIGHT * WIDTH)
    (session.masks.path / "c/3/0/0").write_bytes(bomb)
    refused(SessionError, lambda: session.masks[3])
    assert session.damaged(3) and not session.shown(3).any()


def test_steps_back_that_unpack_to_much_are_not_taken(session: Session) -> None:
    """The largest that is looked at takes as much room, packed, as two frames."""
    for _ in range(2):
        session.correct(0, np.ones(session.shape[1:], np.uint8))
    folder = shutil.copytree(session.folder, session.folder.with_name("copy.vivim"))
    for path in (folder / "undo").rglob("*"):
        if path.is_file():
            head = path.read_bytes().split(b"\n")[0]
            packed = zlib.compress(b"\2" * (8 * 2**20), 9)
            path.write_bytes(b"%s\n%d\n" % (head, len(packed)) + packed)
    with Session.open(session.video.path, folder=folder) as copy:
        before = copy.masks[0]
        copy.undo()
        np.testing.assert_array_equal(copy.masks[0], before)


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tiny_model: Vivim, tmp_path: Path) -> Path:
    from vivim.network.checkpoints import save_checkpoint

    save_checkpoint(tiny_model, tmp_path / "own.safetensors", {"version": "0"})
    return tmp_path / "own.safetensors"


def change_header(path: Path, change: Callable[[dict], None], length: int = 0) -> None:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(text)) + text + data[8 + size :])


def gigantic_tensor(header: dict) -> None:
    header[min(header)] = {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}


def many_classes(header: dict) -> None:
    config = json.loads(header["__metadata__"]["config"])
    header["__metadata__"]["config"] = json.dumps({**config, "num_classes": 10**9})


@pytest.mark.parametrize("change", [gigantic_tensor, many_classes])
def test_models_that_claim_much(own: Path, change: Callable[[dict], None]) -> None:
    from vivim import load_model

    change_header(own, change)
    refused(CheckpointError, lambda: load_model(own))


def test_a_model_of_a_gigantic_header(own: Path) -> None:
    from vivim import load_model

    change_header(own, lambda header: None, length=2**62)
    refused(CheckpointError, lambda: load_model(own))


def test_checkpoints_that_claim_much(tmp_path: Path) -> None:
    """One stored number seen as gigabytes; storage that is not there, in both of PyTorch's formats; packed members."""
    import torch
    from vivim import load_model

    wide = torch.zeros(1).expand(10**6, 256, 1, 1)
    torch.save({"out.weight": wide}, tmp_path / "wide.ckpt")
    claim, more = b"J" + struct.pack("<i", 77_777), b"J" + struct.pack("<i", 2**30)
    for name, zipped in (("short", True), ("older", False)):
        path = tmp_path / f"{name}.ckpt"
        torch.save({"a": torch.zeros(77_777)}, path, _use_new_zipfile_serialization=zipped)
        if not zipped:
            path.write_bytes(path.read_bytes().replace(claim, more))
            continue
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        for kind, packing in ((path, zipfile.ZIP_STORED), (tmp_path / "packed.ckpt", zipfile.ZIP_DEFLATED)):
            with zipfile.ZipFile(kind, "w", packing) as archive:
                for member, content in members.items():
                    archive.writestr(member, content.replace(claim, more))
    assert "larger than what is stored" in refused(
        CheckpointError, lambda: load_model(tmp_path / "wide.ckpt")
    )
    for name in ("short", "older", "packed"):
        refused(CheckpointError, lambda name=name: load_model(tmp_path / f"{name}.ckpt"))
