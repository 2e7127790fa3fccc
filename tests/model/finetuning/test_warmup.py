"""Warm-up of fine-tuning leaves the model as it was."""

from __future__ import annotations

import torch
from vivim.finetuning.warmup import warm_up_finetuning
from vivim.network import Vivim


def test_warm_up_changes_nothing_and_trains_a_copy(tiny_model: Vivim, monkeypatch) -> None:
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    stepped: list[int] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a: stepped.append(1) or step(self, *a))
    warm_up_finetuning(tiny_model, torch.device("cpu"))
    assert stepped == [1]
    assert all(torch.equal(before[name], value) for name, value in tiny_model.state_dict().items())
