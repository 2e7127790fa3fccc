"""Recordings of the network's pass: the same logits as without, on a GPU."""

from __future__ import annotations

import pytest
import torch
from vivim.inference.batch_runner import Runner
from vivim.inference.cuda_graphs import RUNS_BEFORE, GraphedForward
from vivim.network import Vivim, VivimConfig


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_replayed_pass_gives_what_the_network_gives() -> None:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", guided=True)).eval()
    runner = Runner(model, torch.device("cuda"), precision="float32")
    for number in range(RUNS_BEFORE + 3):
        x = torch.randn(1, 4, 3, 64, 64, device="cuda")
        planes = torch.randn(1, 4, 2, 64, 64, device="cuda")
        with torch.inference_mode():
            wanted = runner.model(x, planes)
        assert torch.allclose(runner(x, planes), wanted, atol=1e-5), number


def test_what_cannot_be_recorded_is_run_as_usual(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("vivim.inference.cuda_graphs._Graph", refuse)
    run = GraphedForward(lambda x, planes: x + 1)
    for value in range(RUNS_BEFORE + 3):
        assert run(torch.full((2,), float(value)), None).tolist() == [value + 1.0] * 2
    assert caplog.text.count("could not be recorded") == 1
