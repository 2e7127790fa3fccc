"""Warm-up: load and compile in advance what the first mask and the first fine-tune need."""

import copy
import threading

import numpy as np
import torch

from vivim.devices import choose_device, is_remote
from vivim.finetuning.samples import Sample, Window, encode, target_planes
from vivim.finetuning.trainables import BATCH, DecoderTrainable
from vivim.inference.kernel_compilation import compile_kernels
from vivim.inference.proposals import segment_frames
from vivim.inference.sliding_windows import CONTEXT
from vivim.network import Vivim
from vivim.settings import settings

LENGTHS = (2 * CONTEXT + 1, 2 * CONTEXT + 3)
"""Frames of a fine-tune's windows: a corrected frame and its neighbours, without and with guiding frames."""


def warm_up_finetuning(model: Vivim, device: torch.device) -> None:
    """Encode empty windows and take one training step with a copy of `model`, which is on `device`."""
    height, width = model.config.input_size
    tuned = copy.deepcopy(model).eval()
    samples: list[Sample] = []
    for number, frames in enumerate(LENGTHS):
        x = torch.zeros(1, frames, 3, height, width, device=device)
        guide = torch.zeros(1, frames, 2, height, width, device=device) if model.config.guided else None
        target = target_planes(np.zeros((height, width), np.uint8), model.config.num_classes)
        samples.append(encode(tuned, Window(0, number, x, guide, None, CONTEXT, target, False)))
    assert len(samples) >= BATCH
    for _ in DecoderTrainable(tuned, samples, device, last_stage=False).fit({(0, 0), (0, 1)}, 1, 0, 0):
        pass


def warm_up(model: Vivim, device: str = "auto", stop: threading.Event | None = None) -> None:
    """Compile kernels and propose one empty window, so that the first mask comes quickly.

    On CUDA also warm up fine-tuning. Nothing is done for another machine's device, or once `stop` is set.
    """
    if is_remote(device):
        return
    target = choose_device(device)
    if target.type == "cpu":
        compile_kernels(stop)
    if stop is None or not stop.is_set():
        height, width = model.config.input_size
        segment_frames(model, np.zeros((settings().clip_length, height, width, 3), np.uint8), device=device)
    if target.type == "cuda" and not (stop is not None and stop.is_set()):
        warm_up_finetuning(model, target)
