"""Drift is taken out of pixels that were followed for long, and those that were lost are found again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from vivim.propagation.drift_correction import register_along
from vivim.propagation.optical_flow import Motion, chain_flow, identity

SIZE = (128, 128)


def texture(seed: int, grain: float) -> NDArray[np.float32]:
    rough = np.random.default_rng(seed).normal(0, 1, SIZE).astype(np.float32)
    soft = cv2.GaussianBlur(rough, (0, 0), grain)
    return soft / soft.std()


def rgb(scene: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.repeat(np.clip(128 + 40 * scene, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def zoomed(scene: NDArray[np.float32], t: int) -> NDArray[np.float32]:
    return cv2.remap(
        scene, *np.moveaxis(true_maps(t), -1, 0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def true_maps(t: int) -> NDArray[np.float32]:
    """A scene that slowly grows and turns about its middle: where each pixel of frame `t` lies in the first."""
    turn = cv2.getRotationMatrix2D((64, 64), 0.8 * t, 0.99**t).astype(np.float32)
    return identity(SIZE) @ turn[:, :2].T + turn[:, 2]


def far_off(maps: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Mean distance in pixels, away from the border."""
    return float(np.hypot(*np.moveaxis((maps - true)[24:-24, 24:-24], -1, 0)).mean())


def last_of(ways) -> NDArray[np.float32]:
    *_, last = ways
    return last


def test_what_is_followed_for_long_does_not_drift() -> None:
    """Speckle that changes from frame to frame, as in ultrasound, over structure that stays."""
    scene = texture(0, 5)
    frames = [rgb(zoomed(scene, t) + 0.5 * texture(t + 1, 1)) for t in range(25)]
    motion = Motion(lambda t: frames[t])
    onward = range(1, 25)
    plain = last_of(chain_flow(motion, identity(SIZE), onward))
    registered = last_of(register_along(motion, 0, identity(SIZE), onward))
    assert far_off(plain, true_maps(24)) > 1.5
    assert far_off(registered, true_maps(24)) < 0.5 * far_off(plain, true_maps(24))


def test_pixels_that_were_lost_are_found_again() -> None:
    frames = [rgb(texture(0, 5))] * 2
    motion = Motion(lambda t: frames[t])
    lost = identity(SIZE) + np.float32([14, -9])
    assert far_off(last_of(register_along(motion, 0, lost, range(1, 2))), identity(SIZE)) < 1
