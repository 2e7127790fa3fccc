"""How unsure a model is of a frame: its outline, and what several windows say."""

from __future__ import annotations

import pytest
import torch
from vivim import Vivim, VivimConfig
from vivim.inference.batch_runner import Runner
from vivim.inference.fusion import equal_weights, fuse_windows
from vivim.inference.sliding_windows import Window
from vivim.inference.uncertainty import DISAGREEMENT_WEIGHT, boundary_uncertainty


def test_a_soft_outline_is_less_certain_than_a_sharp_one() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(64, 64)
    logits = torch.stack((ramp * 40, ramp * 2))[:, None]
    sharp, soft = boundary_uncertainty(logits)
    assert 0 <= sharp < soft <= 1
    unsure_nothing, sure_nothing = boundary_uncertainty(torch.stack((ramp - 1.1, ramp - 20))[:, None])
    assert unsure_nothing > sure_nothing


def test_windows_that_disagree_add_to_the_uncertainty() -> None:
    """Each window shows rows of its own choice, so sharply that the outline leaves no doubt."""
    rows = {(0, 1, 2): (2, 2, 4), (1, 2, 3): (2, 8, 8)}

    class Fake(Runner):
        def __call__(self, x, planes):
            frames = tuple(int(t) for t in x[0, :, 0, 0, 0])
            shown = [[20.0 if y < count else -20.0 for y in range(16)] for count in rows[frames]]
            return torch.tensor(shown)[None, :, None, :, None].expand(-1, -1, -1, -1, 16)

    def prepare(window):
        return torch.tensor(window.frames, dtype=torch.float32).view(1, -1, 1, 1, 1).expand(
            1, -1, 3, 16, 16
        ), None

    runner = Fake(Vivim(VivimConfig(size="b0", input_size=(32, 32))), torch.device("cpu"))
    windows = [Window(frames, frames) for frames in rows]
    added = {}
    for block, logits, uncertainties in fuse_windows(runner, windows, prepare, equal_weights):
        beside = uncertainties.total - boundary_uncertainty(logits)
        assert uncertainties.windows.tolist() == pytest.approx(beside.tolist(), abs=1e-5)
        added.update(zip(block, beside.tolist(), strict=True))
    disagreement = 1 - 2 * 4 / (4 + 8)
    assert added == pytest.approx({0: 0, 1: 0, 2: DISAGREEMENT_WEIGHT * disagreement, 3: 0}, abs=1e-5)
