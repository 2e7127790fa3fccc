"""Guidance: distances against scipy, propagation of moving squares, the device form against the one for video."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from vivim.imaging.signed_distance import MAX_DISTANCE, signed_distance
from vivim.propagation import guidance_planes
from vivim.propagation.mask_propagator import MaskGuide, Motion
from vivim.propagation.optical_flow import OpticalFlow
from vivim.training.sampler import truncated_distance


def disc(row: float, column: float, radius: float = 12, size: int = 96) -> np.ndarray:
    ys, xs = np.mgrid[:size, :size]
    return (ys - row) ** 2 + (xs - column) ** 2 < radius**2


def smooth_noise(size: int, seed: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).random((size, size)), 3, mode="wrap")
    return (noise - noise.min()) / np.ptp(noise)


def moving_disc(length: int, speed: int, size: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc sliding over a textured ground, `speed` pixels a frame."""
    ground, inside = smooth_noise(size, 0), smooth_noise(size, 1)
    masks = np.stack([disc(96, 60 + speed * t, 30, size) for t in range(length)])
    frames = [
        np.where(masks[t], 0.5 + 0.5 * np.roll(inside, speed * t, axis=1), 0.5 * ground)
        for t in range(length)
    ]
    return (np.repeat(np.stack(frames)[..., None], 3, axis=-1) * 255).astype(np.uint8), masks


def test_signed_distance_equals_scipys() -> None:
    mask = disc(40, 50)
    expected = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    np.testing.assert_allclose(
        signed_distance(mask),
        expected.clip(-MAX_DISTANCE, MAX_DISTANCE),
        atol=1e-4,
    )


@pytest.mark.parametrize("fill", [False, True])
def test_signed_distance_of_empty_and_full_masks(fill: bool) -> None:
    distance = signed_distance(np.full((8, 9), fill))
    assert (distance == (MAX_DISTANCE if fill else -MAX_DISTANCE)).all()


def test_distance_on_the_device_equals_the_one_for_video() -> None:
    masks = np.stack([disc(40, 50), disc(10, 90, 20), np.zeros((96, 96), bool)])
    on_device = truncated_distance(torch.from_numpy(masks))
    np.testing.assert_allclose(on_device.numpy(), np.stack([signed_distance(m) for m in masks]), atol=1e-4)


def test_a_mask_follows_the_motion_and_knows_how_far_it_came() -> None:
    frames, masks = moving_disc(12, speed=3)
    guide = MaskGuide(lambda t: frames[t], {0: masks[0]})
    distance, away = guide.distance(8)
    propagated, still = distance > 0, masks[0]
    overlap = 2 * (propagated & masks[8]).sum() / (propagated.sum() + masks[8].sum())
    unmoved = 2 * (still & masks[8]).sum() / (still.sum() + masks[8].sum())
    assert away == 8
    assert overlap > 0.85 > unmoved


def test_flow_does_not_depend_on_pictures_of_another_size_seen_before() -> None:
    flow, fresh = OpticalFlow(), OpticalFlow()
    small = np.zeros((32, 32), np.uint8)
    flow(small, small)
    still, moved = ((255 * np.roll(smooth_noise(64, 0), by, axis=(0, 1))).astype(np.uint8) for by in (0, 3))
    np.testing.assert_array_equal(flow(still, moved), fresh(still, moved))


def test_flow_does_not_depend_on_a_start_given_before() -> None:
    flow, fresh = OpticalFlow(), OpticalFlow()
    still, moved = ((255 * np.roll(smooth_noise(64, 0), by, axis=(0, 1))).astype(np.uint8) for by in (0, 3))
    start = np.full((64, 64, 2), 40, np.float32)
    led = flow(still, moved, start)
    assert (start == 40).all()
    np.testing.assert_array_equal(flow(still, moved), fresh(still, moved))
    np.testing.assert_array_equal(fresh(still, moved, start), led)


def test_between_two_corrected_frames_the_nearer_counts_more() -> None:
    frames = np.zeros((11, 96, 96, 3), np.uint8)  # no texture: nothing moves
    guide = MaskGuide(lambda t: frames[t], {0: disc(48, 30), 10: disc(48, 60)})
    near_first, _ = guide.distance(2)
    near_last, _ = guide.distance(8)
    assert near_first[48, 30] > near_first[48, 60]
    assert near_last[48, 60] > near_last[48, 30]


def test_planes_of_known_near_and_unknown_frames() -> None:
    planes = guidance_planes.planes(torch.full((3, 2, 2), 8.0), torch.tensor([0.0, 8.0, float("inf")]))
    assert planes.shape == (3, 2, 2, 2)
    np.testing.assert_allclose(planes[0, 1], 1.0)
    np.testing.assert_allclose(planes[1, 1], 0.9 * np.exp(-1), rtol=1e-5)
    np.testing.assert_allclose(planes[:2, 0], np.tanh(1.0), rtol=1e-5)
    assert not planes[2].any()


def test_out_of_reach_means_unknown() -> None:
    frames = np.zeros((200, 32, 32, 3), np.uint8)
    guide = MaskGuide(lambda t: frames[t], {0: disc(16, 16, 6, 32)})
    assert guide.neighbours(150) == (None, None)
    distance, away = guide.distance(150)
    assert np.isinf(away)
    assert not distance.any()


def test_guides_that_share_their_motion_carry_the_same(monkeypatch) -> None:
    frames, masks = moving_disc(10, speed=2, size=96)
    asked: list[int] = []

    def frame(t: int) -> np.ndarray:
        asked.append(t)
        return frames[t]

    motion = Motion(frame)
    known = {0: masks[0], 6: masks[6]}
    alone = MaskGuide(lambda t: frames[t], known).distance(3)[0]
    np.testing.assert_array_equal(MaskGuide(frame, known, motion).distance(3)[0], alone)
    read = len(asked)
    assert read == 7  # three steps from either side, each frame once: no farther than asked
    np.testing.assert_array_equal(MaskGuide(frame, {0: masks[0]}, motion).distance(3)[1], 3.0)
    assert len(asked) == read
