"""Encode corrected frames once, so that training the decoder many times costs little.

Each corrected frame is encoded as it will be met in use: in a window of its neighbours, guided by the OTHER
corrected frames (never by its own mask), and once more without guidance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vivim.errors import FinetuneError
from vivim.finetune.cache import FeatureCache, digest_of_weights, key_of
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
    deep: Tensor
    """``(n, d, h, w)`` float16: what the last stage is given of the whole window, kept for training that stage."""
    position: int
    """Place of the frame in its window of `n`."""


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


def check_labels(sessions: Sequence[Session], model: Vivim) -> None:
    """Make sure that a model of several classes knows every label drawn; with one class every label counts as it.

    Raises
    ------
    FinetuneError
        If a label is beyond them: its pixels would be learned as background.
    """
    classes = model.config.num_classes
    for number, t in corrected_frames(sessions) if classes > 1 else ():
        label = int(np.asarray(sessions[number].masks[t]).max())
        if label > classes:
            raise FinetuneError(
                f"Frame {t} has label {label}, but this model knows {classes} classes: {', '.join(model.classes)}. "
                "Paint it with one of these, or start from a model with more classes."
            )


def corrected_frames(sessions: Sequence[Session]) -> list[tuple[int, int]]:
    """All (session number, frame) a person vouches for, in order of time."""
    return [
        (number, t)
        for number, session in enumerate(sessions)
        for t in session.frames_with("corrected", "accepted")
    ]


@dataclass(frozen=True)
class Variant:
    """One way to meet a corrected frame; what it looks like is worked out only where nothing is kept of it."""

    session: int
    frame: int
    guided: bool
    mirrored: bool
    in_use: bool


def variants(sessions: Sequence[Session], guided: Sequence[bool]) -> Iterator[Variant]:
    """All variants worth learning from: guided and not, and mirrored where there are few frames."""
    keys = corrected_frames(sessions)
    for number, t in keys:
        for with_guide in (True, False) if guided[number] else (False,):
            in_use = with_guide == guided[number]
            yield Variant(number, t, with_guide, False, in_use)
            if len(keys) <= FEW_FRAMES:
                yield Variant(number, t, with_guide, True, False)


class Source:
    """Corrected frames of some sessions as network input.

    Parameters
    ----------
    sessions : sequence of Session
        Where the frames are.
    model : Vivim
        Says which size, how many classes, and whether guidance is possible.
    device : torch.device
        Where windows are wanted.
    """

    def __init__(self, sessions: Sequence[Session], model: Vivim, device: torch.device) -> None:
        self.sessions, self.device = sessions, device
        self.size, self.classes = model.config.input_size, model.config.num_classes
        self._readers: dict[int, ResizedFrames] = {}
        self._guide: tuple[tuple[int, int], MaskGuide] | None = None
        self._known: dict[int, list[list[object]]] = {}

    def window(self, variant: Variant) -> Window:
        """The frame of a variant with its neighbours, guided by the other corrected frames where it says so."""
        session, t = self.sessions[variant.session], variant.frame
        reader = self._readers.setdefault(variant.session, ResizedFrames(session.video, self.size))
        guide = self._guide_without(variant.session, t, reader) if variant.guided else None
        block = list(range(max(0, t - CONTEXT), min(len(session), t + CONTEXT + 1)))
        window = window_around(block, guide)
        x, planes = window_inputs(reader, window, guide, self.device)
        target = target_planes(np.asarray(session.masks[t]), self.size, self.classes)
        whole = Window(variant.session, t, x, planes, window.index(t), target, variant.in_use)
        return mirror(whole) if variant.mirrored else whole

    def depends_on(self, variant: Variant) -> list[object]:
        """What the features of a variant depend on, beside the encoder: plain JSON values."""
        session = self.sessions[variant.session]
        known = self._masks_of(variant.session) if variant.guided else []
        others = [pair for pair in known if pair[0] != variant.frame]
        return [session.identity, variant.frame, CONTEXT, list(self.size), variant.mirrored, others]

    def target(self, variant: Variant) -> Tensor:
        """`target_planes` of a variant, mirrored as it is."""
        mask = np.asarray(self.sessions[variant.session].masks[variant.frame])
        planes = target_planes(mask, self.size, self.classes)
        return planes.flip(-1) if variant.mirrored else planes

    def _guide_without(self, number: int, t: int, reader: ResizedFrames) -> MaskGuide:
        if self._guide is None or self._guide[0] != (number, t):
            self._guide = (number, t), guide_of(self.sessions[number], reader, self.size, leave_out=t)
        return self._guide[1]

    def _masks_of(self, number: int) -> list[list[object]]:
        if number not in self._known:
            session = self.sessions[number]
            self._known[number] = [
                [t, hashlib.sha256(np.asarray(session.masks[t]).tobytes()).hexdigest()[:16]]
                for t in session.frames_with("corrected", "accepted")
            ]
        return self._known[number]


def windows(
    sessions: Sequence[Session], guided: Sequence[bool], model: Vivim, device: torch.device
) -> Iterator[Window]:
    """Every corrected frame as network input, in all the variants worth learning from.

    `guided` says of each session whether its corrected frames guide one another; see `is_guided`.
    """
    source = Source(sessions, model, device)
    for variant in variants(sessions, guided):
        yield source.window(variant)


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
    return Sample(
        window.session,
        window.frame,
        kept,
        window.target,
        guess.half(),
        boundary_weight(window.target.float()).half(),
        window.in_use,
        features[-2].to("cpu", torch.float16).clone(),
        window.position,
    )


def encoded(
    model: Vivim, source: Source, chosen: Iterable[Variant], cache: FeatureCache | None = None
) -> Iterator[Sample]:
    """Each variant encoded, or as the cache has it from an earlier fine-tune."""
    encoder = digest_of_weights(model.encoder, model.guide_embed) if cache is not None else ""
    for variant in chosen:
        key = key_of(encoder, source.depends_on(variant)) if cache is not None else ""
        found = cache.get(key) if cache is not None else None
        if found is not None:
            yield _from_cache(found, variant, source.target(variant))
            continue
        sample = encode(model, source.window(variant))
        if cache is not None:
            cache.put(key, _for_cache(sample))
        yield sample


def _for_cache(sample: Sample) -> dict[str, Tensor]:
    levels = {f"feature{i}": feature for i, feature in enumerate(sample.features)}
    return {**levels, "guess": sample.guess, "deep": sample.deep, "position": torch.tensor(sample.position)}


def _from_cache(found: dict[str, Tensor], variant: Variant, target: Tensor) -> Sample:
    # laid out in memory as the encoder leaves them, so that the same sums are rounded alike
    levels = [found[f"feature{i}"].contiguous(memory_format=torch.channels_last) for i in range(4)]
    return Sample(
        variant.session,
        variant.frame,
        levels,
        target,
        found["guess"],
        boundary_weight(target.float()).half(),
        variant.in_use,
        found["deep"].contiguous(memory_format=torch.channels_last),
        int(found["position"]),
    )
