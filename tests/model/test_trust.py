"""How far carried masks are trusted: chosen by corrected frames that did not take part."""

from __future__ import annotations

import numpy as np
import torch
from vivim.network import Vivim, VivimConfig
from vivim.trust import TRUSTS, UNGUIDED, best_trust, calibrate, mixed, stored_trust

TRUE = np.zeros((8, 8), np.uint8)
TRUE[2:6, 2:6] = 1
RIGHT = torch.from_numpy(TRUE).float()[None, None] * 2 - 1
WRONG = -RIGHT


class Corrected:
    """Stands for a session with some corrected frames."""

    identity = "0123456789abcdef"

    def __init__(self, *frames: int) -> None:
        self.frames = list(frames)

    def frames_with(self, *statuses: str) -> list[int]:
        return self.frames


def choose(session: Corrected, guided: torch.Tensor, alone: torch.Tensor, carried: torch.Tensor) -> float:
    planes = torch.cat((carried, torch.ones_like(carried)), dim=1)

    def predict(t, with_guide):
        return (guided, planes, TRUE) if with_guide else (alone, None, TRUE)

    return calibrate(session, predict)


def test_a_carried_mask_that_is_right_is_trusted_just_enough() -> None:
    assert choose(Corrected(1, 5), guided=3 * WRONG, alone=WRONG, carried=RIGHT) == 4.0


def test_a_carried_mask_that_is_wrong_is_not_trusted() -> None:
    assert choose(Corrected(1, 5, 9), guided=RIGHT, alone=WRONG, carried=WRONG) == 0.0


def test_a_network_that_guidance_misleads_is_left_alone() -> None:
    assert choose(Corrected(1, 5, 9), guided=WRONG, alone=RIGHT, carried=WRONG) == UNGUIDED


def test_a_single_corrected_frame_says_whether_the_network_needs_help() -> None:
    assert choose(Corrected(1), guided=WRONG, alone=RIGHT, carried=RIGHT) == UNGUIDED
    assert choose(Corrected(1), guided=RIGHT, alone=WRONG, carried=RIGHT) == 0.0
    assert choose(Corrected(), guided=RIGHT, alone=RIGHT, carried=RIGHT) == 0.0


def test_of_equals_the_smallest_is_chosen() -> None:
    assert best_trust({trust: {0: 0.5} for trust in TRUSTS}) == 0.0


def test_a_small_gain_does_not_count() -> None:
    rows = {trust: {0: 0.80 + (0.019 if trust == 4.0 else 0.0)} for trust in TRUSTS}
    assert best_trust(rows) == 0.0
    rows[4.0] = {0: 0.83}
    assert best_trust(rows) == 4.0


def test_mixing_adds_the_first_plane() -> None:
    logits, guide = torch.zeros(2, 1, 3, 3), torch.full((2, 2, 3, 3), 0.5)
    assert torch.equal(mixed(logits, guide, 4.0), torch.full((2, 1, 3, 3), 2.0))
    assert mixed(logits, None, 4.0) is logits


def test_a_tuned_models_answer_counts_for_its_own_sessions_only() -> None:
    model = Vivim(VivimConfig(input_size=(64, 64)))
    assert stored_trust(Corrected(1, 2), model) is None
    model.provenance = {"trust": 2.0, "learned_from": ["0123456789ab"]}
    assert stored_trust(Corrected(1, 2), model) == 2.0
    model.provenance = {"trust": 2.0, "learned_from": ["another"]}
    assert stored_trust(Corrected(1, 2), model) is None
