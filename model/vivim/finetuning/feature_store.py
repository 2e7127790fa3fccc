"""Encoded frames kept on disk between fine-tunes, one file each.

A file's name is a digest of everything that its content depends on, so that no file can be out of date. Files hold
feature maps only: no pictures, no names, no paths.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vivim.settings import vivim_home
from vivim.utils.atomic_files import atomic_write, sweep

LIMIT_BYTES = 1_000_000_000
SUFFIX = ".features"


def key_of(*parts: Any) -> str:
    """Name of the features that depend on `parts`, which must be plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


class FeatureStore:
    """Store of encoded frames: a folder of named tensors, by default in `vivim_home`, made when first written to.

    `trim` leaves `limit` bytes at most. The files unused for longest go first.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder or vivim_home() / "features", limit
        self.hits = 0

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return what `put` kept under `key`, or None where there is none or it is damaged."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            found = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError):
            return None  # never written, removed for its size, or cut short: encoded again
        self.hits += 1
        return found

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors under `key`, unless the disk is full or read-only."""
        path = self.folder / f"{key}{SUFFIX}"
        with contextlib.suppress(OSError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                save_file({name: value.contiguous() for name, value in tensors.items()}, part)

    def trim(self) -> None:
        """Remove the files unused for longest until the rest fits into `limit`."""
        with contextlib.suppress(OSError):  # the folder is not there, or is read-only
            sweep(self.folder)
            files = []
            for path in self.folder.glob(f"*{SUFFIX}"):
                with contextlib.suppress(FileNotFoundError):  # another fine-tune is trimming too
                    stat = path.stat()
                    files.append((stat.st_mtime, stat.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self.limit:
                    break
                path.unlink(missing_ok=True)
                total -= size
