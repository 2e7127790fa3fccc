"""A fine-tune in small that is thrown away, so that the first real one finds its kernels loaded."""

from __future__ import annotations

import copy
import threading

import numpy as np
import torch

from vivim.finetuning.samples import Sample, Window, encode, target_planes
from vivim.finetuning.trainables import BATCH, Encoded
from vivim.inference.kernel_compilation import compile_kernels
from vivim.inference.sliding_windows import CONTEXT
from vivim.network import Vivim
from vivim.settings import settings

LENGTHS = (2 * CONTEXT + 1, 2 * CONTEXT + 3)
"""Frames of the windows a fine-tune meets: a corrected frame and its neighbours, without and with those that guide."""


def warm_up_masks_layer(model: Vivim, device: torch.device) -> None:
    """Encode empty windows and take one training step with a copy of `model`, which is left as it is.

    Parameters
    ----------
    model : Vivim
        Of the kind that will be fine-tuned; on `device`.
    device : torch.device
        Where the fine-tune will run.
    """
    height, width = model.config.input_size
    trainable = copy.deepcopy(model).eval()
    samples: list[Sample] = []
    for number, frames in enumerate(LENGTHS):
        x = torch.zeros(1, frames, 3, height, width, device=device)
        guide = torch.zeros(1, frames, 2, height, width, device=device) if model.config.guided else None
        target = target_planes(np.zeros((height, width), np.uint8), model.config.num_classes)
        samples.append(encode(trainable, Window(0, number, x, guide, None, CONTEXT, target, False)))
    assert len(samples) >= BATCH
    for _ in Encoded(trainable, samples, device, last_stage=False).fit({(0, 0), (0, 1)}, 1, 0, 0):
        pass


def warm_up(model: Vivim, device: str = "auto", stop: threading.Event | None = None) -> None:
    """Do once what the first mask would otherwise wait for: kernels, and a first pass of one window.

    On CUDA also what the first fine-tune would wait for.

    Parameters
    ----------
    model : Vivim
        Moved to the device and put into evaluation mode.
    device : str
        As for `vivim.propose`; another machine's is left alone.
    stop : threading.Event, optional
        Set it to leave out what has not begun yet.

    Raises
    ------
    DeviceError
        If the device is absent or its memory too small.
    """
    from vivim.devices import choose_device, is_remote

    if is_remote(device):
        return
    target = choose_device(device)
    if target.type == "cpu":
        compile_kernels(stop)
    if stop is None or not stop.is_set():
        from vivim.inference.proposals import segment_frames

        height, width = model.config.input_size
        segment_frames(model, np.zeros((settings().clip_length, height, width, 3), np.uint8), device=device)
    if target.type == "cuda" and not (stop is not None and stop.is_set()):
        from vivim.finetuning.warmup import warm_up_masks_layer

        warm_up_masks_layer(model, target)
