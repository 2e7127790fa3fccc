"""Encoded frames kept on disk between fine-tunes: one file each, the longest unused removed first.

A file's name is a digest of everything its content depends on, so that nothing in the cache can be out of date. The
files hold feature maps only: no pictures, no names, no paths.
"""

from __future__ import annotations

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


def cache_folder() -> Path:
    """Where encoded frames are kept."""
    return vivim_home() / "features"


def key_of(*parts: Any) -> str:
    """Name for what depends on `parts`, which must be plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


class FeatureCache:
    """A folder of named tensors, at most `limit` bytes of them.

    Parameters
    ----------
    folder : Path, optional
        `cache_folder` by default; made when first written to.
    limit : int
        Bytes; the files longest unused go first.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder or cache_folder(), limit
        self.hits = 0

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What `put` kept under `key`, or None; a damaged file counts as none."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            found = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError):
            return None  # never written, removed for its size, or cut short: encoded again
        self.hits += 1
        return found

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors under `key`; a disk that is full or read-only costs time later, not the fine-tune."""
        path = self.folder / f"{key}{SUFFIX}"
        with contextlib.suppress(OSError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                save_file({name: value.contiguous() for name, value in tensors.items()}, part)

    def trim(self) -> None:
        """Remove the files longest unused until the rest fits; called once at the end of a fine-tune."""
        if not self.folder.is_dir():
            return
        with contextlib.suppress(OSError):  # another fine-tune may be trimming too
            sweep(self.folder)
            files = [(path.stat(), path) for path in self.folder.glob(f"*{SUFFIX}")]
            total = sum(stat.st_size for stat, _ in files)
            for stat, path in sorted(files, key=lambda item: item[0].st_mtime):
                if total <= self.limit:
                    break
                path.unlink(missing_ok=True)
                total -= stat.st_size
