"""What the training tests share; by itself, ``torchrun material.py RUN``, one of several processes of a run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from vivim.network import VivimConfig
from vivim.training.config import Phase, TrainConfig
from vivim.training.datasets import Clip
from vivim.training.trainer import train

SIZE = (64, 64)


def blob_clip(name: str, seed: int, frames: int = 12) -> Clip:
    """A bright disc wandering over noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = np.stack([(ys - 20 - t) ** 2 + (xs - 25 - t) ** 2 < 120 for t in range(frames)])
    pictures = rng.normal(70, 12, (frames, *SIZE)) + 110 * masks
    return Clip(
        name, np.repeat(pictures.clip(0, 255).astype(np.uint8)[..., None], 3, -1), masks.astype(np.uint8)
    )


def shared_recipe() -> TrainConfig:
    """Everything that could tell processes apart: BatchNorm, dropout, drop path, guidance, the constraint."""
    return TrainConfig(
        network=VivimConfig(size="b0", guided=True, input_size=(32, 32), drop_path=0.2, temporal_stages=(3,)),
        steps=2,
        phases=(Phase(1.0, 6, (2,)),),
        boundary_weight=0.3,
        warm_up_steps=1,
        parts=3,
        seed=2,
        log_every=1,
        save_every=1,
    )


def learn(run: Path) -> list[float]:
    """Losses of the two steps of `shared_recipe`; ``run/first.pt`` keeps everything as it was after the first step."""
    losses = []
    for event in train([blob_clip("a", 0)], [blob_clip("b", 1)], run, shared_recipe()):
        losses.append(event.loss)
        if len(losses) == 2 and os.environ.get("RANK", "0") == "0":
            shutil.copy(run / "resume.pt", run / "first.pt")
    return losses


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    (where / f"curve{os.environ['RANK']}.json").write_text(json.dumps(learn(where)))
