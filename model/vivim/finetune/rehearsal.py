"""A fine-tune in small that is thrown away, so that the first real one finds its kernels loaded."""

from __future__ import annotations

import copy

import numpy as np
import torch

from vivim.finetune.features import Sample, Window, encode, target_planes
from vivim.finetune.pupils import BATCH, Encoded
from vivim.network import Vivim
from vivim.windows import CONTEXT

LENGTHS = (2 * CONTEXT + 1, 2 * CONTEXT + 3)
"""Frames of the windows a fine-tune meets: a corrected frame and its neighbours, without and with those that guide."""


def rehearse(model: Vivim, device: torch.device) -> None:
    """Encode empty windows and take one training step with a copy of `model`, which is left as it is.

    Parameters
    ----------
    model : Vivim
        Of the kind that will be fine-tuned; on `device`.
    device : torch.device
        Where the fine-tune will run.
    """
    height, width = model.config.input_size
    pupil = copy.deepcopy(model).eval()
    samples: list[Sample] = []
    for number, frames in enumerate(LENGTHS):
        x = torch.zeros(1, frames, 3, height, width, device=device)
        guide = torch.zeros(1, frames, 2, height, width, device=device) if model.config.guided else None
        target = target_planes(np.zeros((height, width), np.uint8), model.config.num_classes)
        samples.append(encode(pupil, Window(0, number, x, guide, None, CONTEXT, target, False)))
    assert len(samples) >= BATCH
    for _ in Encoded(pupil, samples, device, last_stage=False).fit({(0, 0), (0, 1)}, 1, 0, 0):
        pass
