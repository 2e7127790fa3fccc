"""The shapes that the network promises, its options, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from vivim import Vivim, VivimConfig
from vivim.network.temporal_mamba import STMamba


@pytest.fixture(scope="module")
def guided() -> Vivim:
    torch.manual_seed(0)
    return Vivim(VivimConfig(size="b0", guided=True, edge_head=True)).eval()


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 32, 32), (3, 64, 96), (7, 96, 32)])
def test_any_clip_length_and_any_size_divisible_by_32(
    guided: Vivim, frames: int, height: int, width: int
) -> None:
    with torch.no_grad():
        logits, edges = guided(torch.randn(2, frames, 3, height, width), return_edges=True)
    assert logits.shape == (2, frames, 1, height, width)
    assert edges.shape == (2, frames, 1, height, width)


def test_several_classes() -> None:
    model = Vivim(VivimConfig(size="b0", num_classes=4)).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 2, 3, 32, 32)).shape == (1, 2, 4, 32, 32)


def test_clips_of_a_batch_do_not_see_each_other(guided: Vivim) -> None:
    x = torch.randn(2, 3, 3, 64, 64)
    with torch.no_grad():
        together, alone = guided(x), torch.cat([guided(x[:1]), guided(x[1:])])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_frames_of_a_clip_do_see_each_other(guided: Vivim) -> None:
    x = torch.randn(1, 3, 3, 64, 64)
    changed = x.clone()
    changed[:, 2] += 1
    with torch.no_grad():
        assert (guided(x)[:, 0] - guided(changed)[:, 0]).abs().max() > 1e-4


def test_an_untrained_guide_changes_nothing_and_a_trained_one_does(guided: Vivim) -> None:
    x, guide = torch.randn(1, 2, 3, 32, 32), torch.rand(1, 2, 2, 32, 32)
    with torch.no_grad():
        plain = guided(x)
        torch.testing.assert_close(guided(x, guide), plain, atol=0, rtol=0)
        guided.guide_embed.weight.normal_()
        assert (guided(x, guide) - plain).abs().max() > 1e-3
        guided.guide_embed.weight.zero_()


@pytest.mark.parametrize(
    ("x", "guide", "message"),
    [
        ((1, 3, 32, 32), None, "must be"),
        ((1, 2, 4, 32, 32), None, "must be"),
        ((1, 2, 3, 33, 32), None, "divisible by 32"),
        ((1, 2, 3, 32, 32), (1, 2, 1, 32, 32), "guide must be"),
    ],
)
def test_wrong_shapes_are_refused_with_a_reason(guided: Vivim, x, guide, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guided(torch.zeros(x), None if guide is None else torch.zeros(guide))


def test_guide_and_edges_need_the_parts_they_use() -> None:
    model = Vivim(VivimConfig(size="b0"))
    with pytest.raises(ValueError, match="guided=False"):
        model(torch.zeros(1, 1, 3, 32, 32), torch.zeros(1, 1, 2, 32, 32))
    with pytest.raises(ValueError, match="edge head"):
        model(torch.zeros(1, 1, 3, 32, 32), return_edges=True)


@pytest.mark.parametrize("wrong", [{"size": "b9"}, {"num_classes": 0}, {"input_size": (100, 100)}])
def test_impossible_configurations_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        VivimConfig(**wrong)


def test_configuration_survives_its_dictionary() -> None:
    config = VivimConfig(size="b2", num_classes=3, guided=True, input_size=(64, 96))
    assert VivimConfig(**asdict(config)) == config


def test_every_parameter_learns() -> None:
    torch.manual_seed(4)
    model = Vivim(VivimConfig(size="b0", edge_head=True, guided=True)).train()
    logits, edges = model(torch.randn(2, 2, 3, 32, 32), torch.rand(2, 2, 2, 32, 32), return_edges=True)
    (logits.square().mean() + edges.square().mean()).backward()
    # the last attention of a one-token grid has a constant softmax: query and key get no gradient there
    silent = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not silent


def test_b3_has_the_size_the_paper_gives() -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in Vivim(VivimConfig(size="b3")).parameters())
    unused = 150 * 768 + 150 + 2 * (64 + 128 + 320 + 512)
    assert round((count + unused) / 1e6, 1) == 59.6


@pytest.mark.parametrize(
    ("scans", "stages"), [(("onward",), (0, 1, 2, 3)), (("onward", "temporal"), (3,)), (("onward",), ())]
)
def test_parts_of_the_network_can_be_left_out(scans: tuple[str, ...], stages: tuple[int, ...]) -> None:
    config = VivimConfig(scans=scans, temporal_stages=stages, input_size=(32, 32))
    assert VivimConfig(**json.loads(json.dumps(asdict(config)))) == config
    torch.manual_seed(0)
    model = Vivim(config).eval()
    blocks = [module for module in model.modules() if isinstance(module, STMamba)]
    assert len(blocks) == 2 * len(stages)
    assert all(tuple(block.branches) == scans for block in blocks)
    x = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        whole, alone = model(x), torch.cat([model(x[:, t : t + 1]) for t in range(3)], 1)
    assert torch.allclose(whole, alone, atol=1e-5) == (not stages)  # frames see each other where blocks are
