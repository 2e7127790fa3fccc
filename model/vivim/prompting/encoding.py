"""Encode one frame for prompts: once, in a short window of its neighbours in time.

The window holds no guidance by corrected masks. So an encoded frame stays valid whatever is corrected, and what is
known of the frame enters as the mask to start from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.devices import choose_device, telling_of_full_memory, unprepared
from vivim.errors import CheckpointError
from vivim.imaging.resize import resize_frame
from vivim.inference.batch_runner import precision_context
from vivim.inference.session_inputs import ResizedFrames
from vivim.inference.sliding_windows import in_context
from vivim.network import Vivim
from vivim.network.preprocessing import normalise, stack_frames
from vivim.network.prompt_head import EmbeddedFrame
from vivim.prompting.grid import Grid
from vivim.session import Session


@dataclass
class EncodedFrame:
    """Encoder features of one frame, and what the prompt head makes of them once for each class."""

    model: Vivim
    grid: Grid
    """Where its pixels lie on the network's grid."""
    features: list[Tensor]
    picture: Tensor
    _embedded: dict[int, EmbeddedFrame] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.picture.device

    def embedded(self, class_id: int) -> EmbeddedFrame:
        """What the prompt head keeps of the frame for one class."""
        if class_id not in self._embedded:
            with torch.inference_mode(), precision_context("auto", self.device):
                self._embedded[class_id] = self.model.embed_for_prompts(self.features, self.picture, class_id)
        return self._embedded[class_id]


def check_takes_prompts(model: Vivim, class_id: int = 1) -> None:
    """Make sure that a model has been trained for prompts, and knows the class."""
    if model.prompt_head is None:
        raise CheckpointError(
            f"The model {model.name!r} was not trained for clicks, boxes and scribbles: choose one that was, such as "
            "the starter, or train them with `vivim train --prompts`."
        )
    if class_id not in range(1, model.config.num_classes + 1):
        raise ValueError(f"class_id must be 1 to {model.config.num_classes}, not {class_id!r}.")


def encode_frame(model: Vivim, frames: Any, frame: int, device: str = "auto") -> EncodedFrame:
    """Encode one frame of an array for prompts, and what is around it in time.

    `frames` are ``(T, H, W, 3)`` or ``(T, H, W)``, uint8 or uint16. The model is moved to the device.
    """
    check_takes_prompts(model)
    check_frames(frames, frame)
    shape, size = np.shape(frames), model.config.input_size
    grid = Grid((shape[1], shape[2]), size)
    return _encode(model, lambda t: resize_frame(np.asarray(frames[t]), size), frame, shape[0], grid, device)


def check_frames(frames: Any, frame: int) -> None:
    """Raise a `ValueError` unless frames are ``(T, H, W)`` or ``(T, H, W, 3)`` and `frame` is one of them."""
    shape = np.shape(frames)
    if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or (len(shape) == 3 and shape[-1] == 3):
        raise ValueError(
            f"Frames must be (T, H, W) or (T, H, W, 3), not {shape}. A single picture is frames[None]."
        )
    if not 0 <= frame < shape[0]:
        raise ValueError(f"There is no frame {frame}: there are frames 0 to {shape[0] - 1}.")


def encode_session_frame(session: Session, model: Vivim, frame: int, device: str = "auto") -> EncodedFrame:
    """Encode one frame of a session for prompts: its area, in its neighbours. See `encode_frame`."""
    check_takes_prompts(model)
    size = model.config.input_size
    grid = Grid((session.shape[1], session.shape[2]), size, session.area)
    return _encode(model, ResizedFrames(session, size), frame, len(session), grid, device)


def _encode(
    model: Vivim, resized: Callable[[int], NDArray], frame: int, total: int, grid: Grid, device: str
) -> EncodedFrame:
    target = choose_device(device)
    window = in_context(frame, total)
    at = window.index(frame)
    with telling_of_full_memory(target):
        model.to(target).eval()
        x = normalise(stack_frames([resized(t) for t in window]).to(target))[None]
        with torch.inference_mode(), precision_context("auto", target), unprepared(target):
            features = [feature[at : at + 1].clone() for feature in model.features(x)]
    return EncodedFrame(model, grid, features, x[0, at : at + 1])
