"""The fast network against the paper's form of it: same weights, same numbers, in evaluation and in training."""

from __future__ import annotations

import ast
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from vivim.network import (
    Vivim,
    VivimConfig,
    decoder,
    fused_ops,
    layers,
    mix_transformer,
    paper,
    temporal_mamba,
)
from vivim.network.config import PRESETS, SCANS


def random_weights(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under which every part matters: no bias is 0, no BatchNorm statistic 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, like in shapes.items():
        r = torch.randn(like.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            r = torch.tensor(0)
        elif name.endswith("A_log"):
            r = torch.arange(1.0, 17).log() + 0.1 * r
        elif name.endswith("running_var"):
            r = 1 + 0.5 * r.abs()
        elif name.endswith("dt_proj.bias"):
            r = 0.5 * r - 3
        elif name.endswith(("bias", "running_mean")):
            r = 0.2 * r
        else:
            r = r / r[0].numel() ** 0.5 if r.dim() > 1 else 1 + 0.2 * r
        weights[name] = r
    return weights


def both_forms(config: VivimConfig) -> tuple[Vivim, paper.Vivim]:
    """The fast network and the paper's, sharing one set of weights."""
    with torch.device("meta"):  # no initialisation, which takes seconds for the larger sizes
        fast, plain = Vivim(config), paper.Vivim(config)
    assert {k: v.shape for k, v in fast.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    weights = random_weights(fast.state_dict())
    fast.load_state_dict(weights, assign=True)
    plain.load_state_dict(weights, assign=True)
    return fast.eval(), plain.eval()


def clip(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def assert_close(found: Tensor, wanted: Tensor) -> None:
    """Agree to 1e-5 of the largest number."""
    assert found.shape == wanted.shape
    found, wanted = found.detach(), wanted.detach()
    assert (found - wanted).abs().max() <= 1e-5 * max(float(wanted.abs().max()), 1.0)


BETWEEN = {"b1", "b2", "b4"}
"""Sizes whose every kind of part is in a smaller and in a larger one."""


@pytest.mark.parametrize(
    "size", [pytest.param(s, marks=pytest.mark.robustness if s in BETWEEN else ()) for s in PRESETS]
)
def test_every_size_equals_the_paper(size: str) -> None:
    fast, plain = both_forms(VivimConfig(size=size))
    x = clip(1, 2, 3, 32, 64)
    with torch.no_grad():
        assert_close(fast(x), plain(x))


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 3},
        {"edge_head": True},
        {"scans": ("onward",)},
        {"scans": ("onward", "temporal")},
        {"temporal_stages": ()},
        {"temporal_stages": (1, 3)},
    ],
    ids=str,
)
def test_every_option_of_the_paper_equals_it(options: dict[str, object]) -> None:
    fast, plain = both_forms(VivimConfig(**options))
    x = clip(2, 3, 3, 64, 32)
    edges = bool(options.get("edge_head"))
    with torch.no_grad():
        found, wanted = fast(x, return_edges=edges), plain(x, return_edges=edges)
    for one, other in zip(found, wanted, strict=True) if edges else [(found, wanted)]:
        assert_close(one, other)


@pytest.mark.parametrize(
    ("batch", "frames", "height", "width"), [(1, 1, 32, 32), (2, 5, 32, 96), (1, 7, 64, 32)]
)
def test_any_clip_equals_the_paper(batch: int, frames: int, height: int, width: int) -> None:
    fast, plain = both_forms(VivimConfig())
    x = clip(batch, frames, 3, height, width)
    with torch.no_grad():
        assert_close(fast(x), plain(x))


def test_float64_equals_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVIM_SCAN", "torch")
    fast, plain = both_forms(VivimConfig(edge_head=True))
    x = clip(1, 3, 3, 32, 64)
    with torch.no_grad():
        exact = plain.double()(x.double())
        assert exact.dtype == torch.float64
        assert (fast.double()(x.double()) - exact).abs().max() < 1e-6 * exact.abs().max()


def test_training_equals_the_paper_with_its_gradients() -> None:
    """Batch statistics, running statistics and the gradient of every parameter, with dropout at rate 0."""
    fast, plain = both_forms(VivimConfig(edge_head=True))
    x = clip(2, 2, 3, 32, 64)
    plain.load_state_dict({name: value.clone() for name, value in fast.state_dict().items()}, assign=True)
    losses = []
    for model in (fast, plain):
        model.train().requires_grad_()
        model.decoder.dropout.p = 0.0
        logits, edges = model(x, return_edges=True)
        loss = logits.square().mean() + edges.sigmoid().mean()
        loss.backward()
        losses.append(loss.detach())
    assert_close(*losses)
    assert_close(fast.decoder.norm.running_mean, plain.decoder.norm.running_mean)
    assert_close(fast.decoder.norm.running_var, plain.decoder.norm.running_var)
    wanted = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        scale = max(float(wanted[name].grad.abs().max()), 1e-3)
        assert (parameter.grad - wanted[name].grad).abs().max() < 1e-3 * scale, name


def same_weights(fast: nn.Module, plain: nn.Module) -> None:
    """Give two parts one set of weights, in evaluation."""
    weights = random_weights(fast.state_dict())
    for module in (fast, plain):
        module.load_state_dict(weights)
        module.eval()


@pytest.mark.parametrize("gradient", [False, True], ids=["fused", "with gradients"])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 1, 1), (3, 2, 5), (2, 7, 3)])
def test_mix_ffn_equals_the_paper(frames: int, height: int, width: int, gradient: bool) -> None:
    x = 3 * clip(2, frames, height, width, 16)
    for depthwise, convolution, shape in (
        (layers.DepthwiseSpace, nn.Conv2d, (2 * frames, height, width, 16)),
        (layers.DepthwiseSpaceTime, nn.Conv3d, x.shape),
    ):
        fast, plain = layers.MixFFN(16, depthwise), paper.MixFFN(16, convolution)
        same_weights(fast, plain)
        with torch.set_grad_enabled(gradient):
            assert fused_ops.usable(x, fast.depthwise.weight) != gradient
            assert_close(fast(x.flatten(0, 1), frames), plain(x.view(shape)).reshape(-1, height, width, 16))


@pytest.mark.parametrize("gradient", [False, True], ids=["fused", "with gradients"])
def test_decoder_equals_the_paper(gradient: bool) -> None:
    widths = (8, 16, 24, 32)
    fast, plain = decoder.Decoder(widths, 48, 2), paper.Decoder(widths, 48, 2)
    same_weights(fast, plain)
    features = [clip(3, d, h, h + 3) for d, h in zip(widths, (16, 8, 4, 2), strict=True)]
    with torch.set_grad_enabled(gradient):
        assert_close(fast(features), plain(features))


@pytest.mark.parametrize("reduction", [1, 2])
def test_attention_equals_the_paper(reduction: int) -> None:
    fast, plain = (
        mix_transformer.EfficientAttention(32, 2, reduction),
        paper.EfficientAttention(32, 2, reduction),
    )
    same_weights(fast, plain)
    x = 2 * clip(2, 4, 6, 32)
    with torch.no_grad():
        assert_close(fast(x), plain(x))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("frames", [1, 3, 4])
def test_each_scan_equals_the_paper(scan: str, frames: int) -> None:
    fast, plain = temporal_mamba.STMamba(8, (scan,)), paper.STMamba(8, (scan,))
    same_weights(fast, plain)
    x = clip(2, frames, 2, 3, 8)
    with torch.no_grad():
        assert_close(fast(x.flatten(1, 3), frames), plain(x).flatten(1, 3))


@pytest.mark.parametrize("scan", SCANS)
def test_the_paper_scans_in_the_orders_of_its_figure(scan: str) -> None:
    """A scan is causal along its own order: a token changes itself and those visited after it, none before."""
    frames, height, width = 3, 2, 2
    visits = {  # keys by which tokens (t, y, x) are visited
        "onward": lambda t, y, x: (t, y, x),
        "backward": lambda t, y, x: (-t, -y, -x),
        "temporal": lambda t, y, x: (y, x, t),
    }
    block = paper.STMamba(8, (scan,))
    block.load_state_dict(random_weights(block.state_dict()))
    tokens = sorted(
        torch.ones(frames, height, width).nonzero().tolist(), key=lambda token: visits[scan](*token)
    )
    x = clip(1, frames, height, width, 8)
    with torch.no_grad():
        before = block(x)
        for first, second in pairwise(tokens):
            changed = x.clone()
            changed[0, *second] += 1
            moved = (block(changed) - before).abs().amax(-1)[0]
            assert moved[*first] == 0
            assert moved[*second] > 0


def test_the_paper_form_has_neither_guide_nor_edges_it_was_not_made_with() -> None:
    config = VivimConfig(guided=True)
    with pytest.raises(ValueError, match="guided=False"):
        paper.Vivim(config)
    with pytest.raises(ValueError, match="no edge head"):
        paper.Vivim(replace(config, guided=False))(torch.zeros(1, 1, 3, 32, 32), return_edges=True)


def test_the_paper_form_imports_nothing_fast() -> None:
    modules = set()
    for node in ast.walk(ast.parse(Path(paper.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert modules <= {"__future__", "math", "torch", "torch.nn.functional", "vivim.network.config"}


def test_bfloat16_gives_nearly_the_same_masks() -> None:
    model, _ = both_forms(VivimConfig())
    x = clip(1, 3, 3, 64, 64)
    with torch.inference_mode():
        exact = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(x)
    assert ((rough > 0) != (exact > 0)).float().mean() < 0.02


def test_fused_parts_stand_back(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.ones(1, 16), torch.nn.Parameter(torch.ones(16))
    assert not fused_ops.usable(x, weight)  # a gradient is wanted
    with torch.no_grad():
        assert fused_ops.usable(x, weight)
        assert not fused_ops.usable(x.double())
        monkeypatch.setenv("VIVIM_SCAN", "torch")
        assert not fused_ops.usable(x, weight)
