"""Encode corrected frames once, so that training the decoder many times costs little.

Each corrected frame is encoded as it will be met in use: in a window of its neighbours, guided by the OTHER
corrected frames (never by its own mask), and once more without guidance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vivim.guide import MaskGuide
from vivim.inference import ResizedFrames, guide_of, trust_in, window_inputs
from vivim.network import Vivim
from vivim.predict import Runner
from vivim.preprocess import resize_mask
from vivim.session import Session
from vivim.training.losses import boundary_weight
from vivim.trust import UNGUIDED
from vivim.windows import window_around

CONTEXT = 1
"""Neighbours on each side that are encoded together with a corrected frame."""

FEW_FRAMES = 8
"""Up to this many corrected frames, mirrored copies are encoded too."""


@dataclass(frozen=True)
class Sample:
    """One encoded corrected frame: where it is from, its four features and its mask planes."""

    session: int
    frame: int
    features: list[Tensor]
    """Four tensors ``(1, d, h, w)`` float16 on the CPU."""
    target: Tensor
    """``(1, C, H, W)`` uint8 of 0 and 1 at the network's input size."""
    guess: Tensor
    """``(1, 1, H, W)`` float16: the guide's first plane, the mask carried there by motion; zeros without guidance."""
    weight: Tensor
    """``(1, C, H, W)`` float16: `boundary_weight` of the target."""
    in_use: bool
    """Whether this is how the frame is met in use (guided where the model can be, not mirrored)."""


@dataclass(frozen=True)
class Window:
    """One corrected frame with its neighbours, ready for the network."""

    session: int
    frame: int
    x: Tensor
    guide: Tensor | None
    position: int
    target: Tensor
    in_use: bool


def target_planes(mask: np.ndarray, size: tuple[int, int], classes: int) -> Tensor:
    """Label mask ``(H, W)`` to ``(1, C, *size)`` uint8 planes; with one class every label counts as it."""
    labels = torch.from_numpy(resize_mask(mask, size))
    if classes == 1:
        return (labels > 0)[None, None].to(torch.uint8)
    return torch.stack([labels == c + 1 for c in range(classes)])[None].to(torch.uint8)


def corrected_frames(sessions: Sequence[Session]) -> list[tuple[int, int]]:
    """All (session number, frame) a person vouches for, in order of time."""
    return [
        (number, t)
        for number, session in enumerate(sessions)
        for t in session.frames_with("corrected", "accepted")
    ]


def windows(
    sessions: Sequence[Session], guided: Sequence[bool], model: Vivim, device: torch.device
) -> Iterator[Window]:
    """Every corrected frame as network input, in all the variants worth learning from.

    `guided` says of each session whether its corrected frames guide one another; see `is_guided`.
    """
    size, mirrored = model.config.input_size, len(corrected_frames(sessions)) <= FEW_FRAMES
    for number, session in enumerate(sessions):
        reader = ResizedFrames(session.video, size)
        for t in session.frames_with("corrected", "accepted"):
            target = target_planes(np.asarray(session.masks[t]), size, model.config.num_classes)
            block = list(range(max(0, t - CONTEXT), min(len(session), t + CONTEXT + 1)))
            guides: list[MaskGuide | None] = [None]
            if guided[number]:
                guides = [guide_of(session, reader, size, leave_out=t), None]
            for i, guide in enumerate(guides):
                window = window_around(block, guide)
                x, planes = window_inputs(reader, window, guide, device)
                whole = Window(number, t, x, planes, window.index(t), target, in_use=i == 0)
                yield whole
                if mirrored:
                    yield mirror(whole)


def is_guided(session: Session, model: Vivim, device: torch.device) -> bool:
    """Whether corrected frames of this session guide the others, so that learning sees what use will see."""
    if not model.config.guided or len(session.frames_with("corrected", "accepted")) < 2:
        return False
    reader = ResizedFrames(session.video, model.config.input_size)
    return trust_in(session, Runner(model, device), reader) != UNGUIDED


def mirror(window: Window) -> Window:
    """The same window seen in a mirror, left and right exchanged."""
    guide = None if window.guide is None else window.guide.flip(-1)
    return Window(
        window.session, window.frame, window.x.flip(-1), guide, window.position, window.target.flip(-1), False
    )


@torch.inference_mode()
def encode(model: Vivim, window: Window) -> Sample:
    """Features of the corrected frame of one window."""
    features = model.features(window.x, window.guide)
    at = slice(window.position, window.position + 1)
    kept = [feature[at].to("cpu", torch.float16).clone() for feature in features]
    guess = torch.zeros(1, 1, *window.target.shape[-2:])
    if window.guide is not None:
        guess = window.guide[0, at, :1].cpu()
    weight = boundary_weight(window.target.float()).half()
    return Sample(window.session, window.frame, kept, window.target, guess.half(), weight, window.in_use)
