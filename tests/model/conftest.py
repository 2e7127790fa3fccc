"""Small videos, sessions and networks that the library's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from vivim import Session

if TYPE_CHECKING:
    from vivim import Vivim

FRAMES, HEIGHT, WIDTH = 12, 72, 88


@dataclass(frozen=True)
class Sample:
    """A folder of pictures with a bright disc wandering over noise, and the true masks."""

    clip: Path
    frames: np.ndarray
    masks: np.ndarray

    @property
    def video(self) -> Path:
        return self.clip / "frames"


def make_sample(folder: Path, frames: int = FRAMES) -> Sample:
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    masks = np.stack([((ys - 30 - t) ** 2 + (xs - 32 - 2 * t) ** 2 < 200) for t in range(frames)]).astype(
        np.uint8
    )
    grey = (rng.normal(70, 12, (frames, HEIGHT, WIDTH)) + 110 * masks).clip(0, 255).astype(np.uint8)
    pictures = np.repeat(grey[..., None], 3, -1)
    for kind in ("frames", "masks"):
        (folder / kind).mkdir(parents=True)
    for t in range(frames):
        Image.fromarray(pictures[t]).save(folder / "frames" / f"{t:04d}.png")
        Image.fromarray(masks[t] * np.uint8(255)).save(folder / "masks" / f"{t:04d}.png")
    return Sample(folder, pictures, masks)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "clip")


@pytest.fixture
def session(sample: Sample) -> Iterator[Session]:
    with Session.open(sample.video, author="tester") as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_model() -> Vivim:
    """A guided b0 with random weights that works on 64 x 64 pixels and mixes frames in its last stage alone."""
    import torch
    from vivim import Vivim, VivimConfig

    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", guided=True, input_size=(64, 64), temporal_stages=(3,))).eval()
    torch.nn.init.normal_(model.guide_embed.weight, std=0.05)
    model.name, model.version = "tiny", "0123456789ab"
    return model
