"""Ways to damage or forge the files of a session or a model; `mutate_sessions` tries them.

Each takes a file and changes it where it lies.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HUGE = (2**31, 2**40, 10**18, -1, 0, 1e308, "x", None, [], {}, True)
Mutation = Callable[[Path, random.Random], None]


# -- what can happen to any file ----------------------------------------------------------------------------------


def flip_bits(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((0, 1, rng.randrange(len(data) + 1)))])


def stretch(path: Path, rng: random.Random) -> None:
    """A file that says it is gigabytes long, all of it zeros."""
    with path.open("r+b") as file:
        file.truncate(rng.choice((2**20, 3 * 2**30, 2**33)))


def noise(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 16, 4096))))


def zeros(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data) + 1)
    data[at : at + 4096] = bytes(min(4096, len(data) - at))
    path.write_bytes(data)


def swap_for_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def take_away(path: Path, rng: random.Random) -> None:
    path.unlink()


ANY = (flip_bits, flip_bits, flip_bits, cut, cut, stretch, noise, zeros, swap_for_folder, take_away)


# -- what can happen to JSON --------------------------------------------------------------------------------------


def change_value(path: Path, rng: random.Random) -> None:
    values = json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())
    node: Any = values
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = rng.choice(list(keys))
        if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        node[key] = rng.choice(HUGE)
        break
    text = json.dumps(values)
    if path.suffix == ".jsonl":
        text = "\n".join([text, *path.read_text().splitlines()[1:]]) + "\n"
    path.write_text(text)


def nest(path: Path, rng: random.Random) -> None:
    path.write_text("[" * rng.choice((500, 50_000, 900_000)) + "\n" * (path.suffix == ".jsonl"))


def drop_key(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    values = json.loads(lines[0] if path.suffix == ".jsonl" else path.read_text())
    values.pop(rng.choice(list(values)))
    path.write_text("\n".join([json.dumps(values), *(lines[1:] if path.suffix == ".jsonl" else [])]) + "\n")


# -- what can happen to a compressed mask, a kept step, a model ---------------------------------------------------


def blosc_bomb(path: Path, rng: random.Random) -> None:
    """A chunk that unpacks to gigabytes, or says so."""
    from numcodecs.blosc import Blosc

    size = rng.choice((10**6, 10**8, 2**31 - 100))
    raw = path.read_bytes()
    forged = raw[:4] + struct.pack("<I", size) + raw[8:]
    path.write_bytes(
        forged if rng.random() < 0.5 or size > 10**8 else Blosc("lz4").encode(np.zeros(size, np.uint8))
    )


def zlib_bomb(path: Path, rng: random.Random) -> None:
    head = path.read_bytes().split(b"\n")[0]
    path.write_bytes(head + b"\n" + zlib.compress(bytes(10**8), 1))


def forge_header(path: Path, rng: random.Random) -> None:
    """Change a value in the JSON header of a safetensors file, its length kept right."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = rng.choice(list(header))
    if name == "__metadata__":
        key = rng.choice(list(header[name]))
        inner = json.loads(header[name][key]) if header[name][key][:1] in "{[" else header[name][key]
        if isinstance(inner, dict) and inner:
            inner[rng.choice(list(inner))] = rng.choice(HUGE)
        else:
            inner = rng.choice(HUGE)
        header[name][key] = json.dumps(inner)
    else:
        header[name][rng.choice(["shape", "dtype", "data_offsets"])] = rng.choice(
            ([2**40], [10**6, 10**6], [0, 2**50], "F64", [-1], "BF16", [1], [])
        )
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def declare_length(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[:8] = struct.pack("<Q", rng.choice((2**63, 2**40, 10**8 - 1, 1)))
    path.write_bytes(data)


def zip_bomb(path: Path, rng: random.Random) -> None:
    """The members of a pickled checkpoint, packed; one of them unpacks to gigabytes."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    victim = rng.choice(list(members))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, content in members.items():
            if name != victim:
                new.writestr(name, content)
        with new.open(victim, "w", force_zip64=True) as file:
            for _ in range(rng.choice((10, 100, 2200))):
                file.write(bytes(2**20))


def run_code(path: Path, rng: random.Random) -> None:
    """A pickle that would write a file if it were ever run."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(path.parent / "EVIL"),))

    path.write_bytes(pickle.dumps({"encoder": Evil()}))


def other_tensors(path: Path, rng: random.Random) -> None:
    """Tensors of other shapes under the right names; some are views that claim to be enormous."""
    import torch

    state = torch.load(path, weights_only=True)
    for name in rng.sample(list(state), 3):
        state[name] = rng.choice(
            (
                torch.zeros(1),
                torch.zeros(1).expand(10**6, 10**6),
                torch.zeros(3, 5, dtype=torch.int64),
                "text",
                {},
            )
        )
    torch.save(state, path)


def wrong_ending(path: Path, rng: random.Random) -> None:
    other = path.with_suffix(".safetensors" if path.suffix == ".ckpt" else ".ckpt")
    shutil.move(path, other)
    shutil.copy(other, path)


TEXT = (change_value, change_value, change_value, nest, drop_key)
OF_SESSIONS: dict[str, tuple[Mutation, ...]] = {
    "session.json": (*ANY, *TEXT),
    "ledger.jsonl": (*ANY, *TEXT),
    "masks.zarr/zarr.json": (*ANY, *TEXT),
    "masks.zarr/c/3/0/0": (*ANY, blosc_bomb, blosc_bomb),
    "undo": (*ANY, zlib_bomb),
}
"""By the file in a session; of a folder, any file in it."""
OF_MODELS: dict[str, tuple[Mutation, ...]] = {
    ".safetensors": (*ANY, wrong_ending, forge_header, forge_header, forge_header, declare_length),
    ".ckpt": (*ANY, wrong_ending, zip_bomb, run_code, other_tensors, other_tensors),
}
"""By the ending of a model's file."""
