"""How far propagated masks count: the pictures tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vivim.inference.fusion import MIN_PROPAGATED_CONFIDENCE, PROPAGATED_WEIGHT, weigh_guided, weigh_unguided
from vivim.propagation.confidence import (
    HIGH_CORRELATION,
    LOW_CORRELATION,
    blur,
    confidence,
    correlation,
    lost_fraction,
    region_around,
)
from vivim.propagation.mask_propagator import MaskGuide
from vivim.propagation.optical_flow import identity


def noise(seed: int, size: int = 96) -> np.ndarray:
    """Grey noise with structure of some pixels, RGB uint8 ``(size, size, 3)``."""
    import cv2

    rough = np.random.default_rng(seed).normal(128, 120, (size, size)).astype(np.float32)
    smooth = np.clip(cv2.GaussianBlur(rough, (0, 0), 3) * 4 - 384, 0, 255).astype(np.uint8)
    return np.repeat(smooth[..., None], 3, axis=2)


def disc(row: int, column: int, size: int = 96, radius: int = 12) -> np.ndarray:
    ys, xs = np.mgrid[:size, :size]
    return np.hypot(ys - row, xs - column) < radius


def creeping(count: int) -> list[np.ndarray]:
    return [np.roll(noise(0), t, axis=1) for t in range(count)]


def test_confidence_falls_with_correlation_and_with_lost_pixels() -> None:
    assert confidence(1.0, 0.0) == 1.0
    assert confidence(HIGH_CORRELATION, 0.0) == pytest.approx(1.0)
    assert confidence(LOW_CORRELATION, 0.0) == confidence(-1.0, 0.0) == confidence(1.0, 1.0) == 0.0
    middle = (LOW_CORRELATION + HIGH_CORRELATION) / 2
    assert confidence(middle, 0.0) == pytest.approx(0.5)
    assert confidence(middle, 0.75) == pytest.approx(0.25)


def test_correlation_is_that_of_numpy() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 20, 30)).astype(np.float32)
    where = rng.random((20, 30)) > 0.5
    assert correlation(one, other, where) == pytest.approx(
        np.corrcoef(one[where], other[where])[0, 1], abs=1e-5
    )
    assert correlation(one, 3 * one + 7, where) == pytest.approx(1.0, abs=1e-5)
    assert correlation(one, np.full_like(one, 5), where) == 0.0


def test_pixels_that_do_not_come_back_are_lost() -> None:
    home = identity((10, 10))
    back = home.copy()
    back[:5] += (0.0, 4.0)
    back[5:] += (2.0, 0.0)
    everywhere = np.ones((10, 10), bool)
    assert lost_fraction(back, home, everywhere) == 0.5
    everywhere[:5] = False
    assert lost_fraction(back, home, everywhere) == 0.0


def test_a_lesion_too_small_is_compared_with_the_whole_picture() -> None:
    distance = np.full((20, 20), -30.0, np.float32)
    assert region_around(distance).all()
    distance[:10, :10] = -2.0
    assert region_around(distance).sum() == 100


def test_where_the_picture_creeps_propagated_masks_count() -> None:
    frames = creeping(9)
    guide = MaskGuide(lambda t: frames[t], {0: disc(48, 40)})
    assert guide.confidence(0) == 1.0
    assert min(guide.confidence(t) for t in range(1, 9)) > 0.9


def test_where_it_jumps_they_are_not_and_only_beyond_the_jump() -> None:
    frames = [*creeping(4), *(noise(seed) for seed in (5, 6, 7))]
    guide = MaskGuide(lambda t: frames[t], {0: disc(48, 40)})
    assert guide.confidence(3) > 0.9
    assert max(guide.confidence(t) for t in (4, 5, 6)) < 0.5


def test_of_two_corrected_frames_the_one_that_looks_alike_counts() -> None:
    """However near the other is: what it says of frames beyond a jump is worth nothing."""
    frames = [*creeping(5), noise(5)]
    left, right = disc(48, 40), disc(48, 70)
    guide = MaskGuide(lambda t: frames[t], {0: left, 5: right})
    assert guide.confidence(4) > 0.9
    propagated = guide.distance(4)[0] > 0
    assert (propagated & np.roll(left, 4, axis=1)).sum() > 0.8 * left.sum()
    assert (propagated & right).sum() < 0.1 * right.sum()


def test_of_two_that_look_alike_the_nearer_counts_more() -> None:
    frames = [noise(0)] * 5
    guide = MaskGuide(lambda t: frames[t], {0: disc(48, 40), 4: disc(48, 60)})
    first, last = (MaskGuide(lambda t: frames[t], {0: disc(48, c)}).distance(1)[0] for c in (40, 60))
    np.testing.assert_allclose(guide.distance(1)[0], 0.75 * first + 0.25 * last, atol=0.05)
    assert guide.confidence(1) == pytest.approx(1.0, abs=0.01)


def test_out_of_reach_there_is_no_confidence() -> None:
    frames = [noise(0)] * 80
    assert MaskGuide(lambda t: frames[t], {0: disc(48, 40)}).confidence(79) == 0.0
    assert MaskGuide(lambda t: frames[t], {}).confidence(3) == 0.0


def test_what_was_found_out_before_is_not_worked_out_again() -> None:
    frames, confidences = creeping(4), {}
    before = MaskGuide(lambda t: frames[t], {0: disc(48, 40)}, confidences=confidences).confidence(3)

    def no_frame(t: int) -> np.ndarray:
        raise AssertionError("nothing is to be read")

    assert MaskGuide(no_frame, {0: disc(48, 40)}, confidences=confidences).confidence(3) == before
    with pytest.raises(AssertionError, match="nothing is to be read"):
        MaskGuide(no_frame, {0: disc(48, 50)}, confidences=confidences).confidence(3)


def test_grain_does_not_count() -> None:
    rng = np.random.default_rng(2)
    scene = noise(3)[..., 0]
    one, other = (np.clip(scene + rng.normal(0, 25, scene.shape), 0, 255).astype(np.uint8) for _ in range(2))
    everywhere = np.ones(scene.shape, bool)
    assert correlation(blur(one), blur(other), everywhere) > HIGH_CORRELATION


def mixture(guided, planes, alone, confidence: float, reliability: float) -> torch.Tensor:
    """What comes out of both for one frame."""
    (one, (share,)), (other, (rest,)) = (
        weigh_guided(guided, planes, [confidence], reliability),
        weigh_unguided(alone, [confidence], reliability),
    )
    return (share * one + rest * other) / (share + rest)


def test_the_propagated_mask_is_added_to_all_classes_alike() -> None:
    logits, planes = torch.randn(2, 3, 4, 4), torch.rand(2, 2, 4, 4)
    added, shares = weigh_guided(logits, planes, [1.0, 0.5], 1.0)
    torch.testing.assert_close(added - logits, PROPAGATED_WEIGHT * planes[:, :1].expand(-1, 3, -1, -1))
    assert shares == [1.0, 0.5]


def test_what_a_network_says_counts_by_how_well_it_knows_the_video() -> None:
    guided, alone, planes = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4), torch.rand(1, 2, 4, 4)
    propagated = PROPAGATED_WEIGHT * planes[:, :1]
    close = torch.testing.assert_close
    close(mixture(guided, planes, alone, 1.0, 1.0), guided + propagated)
    close(
        mixture(guided, planes, alone, 0.0, 1.0),
        alone + MIN_PROPAGATED_CONFIDENCE * propagated,
        atol=1e-4,
        rtol=1e-4,
    )
    close(mixture(guided, planes, alone, 0.4, 1.0), 0.4 * guided + 0.6 * alone + 0.4 * propagated)
    close(mixture(guided, planes, alone, 0.4, 0.0), 0.4 * propagated)
    half = 0.5 * (0.7 * guided + 0.3 * alone) + 0.4 * propagated
    close(mixture(guided, planes, alone, 0.4, 0.5), half)
