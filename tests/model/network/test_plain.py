"""The network as it runs against its plain arrangement: same weights, same numbers, in evaluation and in training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from vivim.network import Vivim, VivimConfig, fused
from vivim.network.layers import DepthwiseSpace, DepthwiseSpaceTime

from benchmarks.plain import plain


def lively(**options) -> Vivim:
    """Random weights under which every part matters: BatchNorm statistics and biases are not 0 and 1."""
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", **options))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and "dt_proj" not in name:
                parameter.normal_(0, 0.2, generator=generator)
        model.decoder.norm.running_mean.normal_(0, 0.3, generator=generator)
        model.decoder.norm.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


@pytest.mark.parametrize("frames, classes, grad", [(5, 1, False), (1, 3, False), (4, 1, True)])
def test_the_lean_network_equals_the_plain_one(frames, classes, grad):
    model = lively(num_classes=classes).eval()
    x = torch.randn(1, frames, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.set_grad_enabled(grad):
        found, wanted = model(x), plain(model)(x)
    scale = float(wanted.abs().max())
    assert (found - wanted).abs().max() <= 1e-5 * max(scale, 1.0)
    if grad:
        gradients = torch.autograd.grad(
            found.square().mean(), list(model.encoder.parameters()), allow_unused=True
        )
        assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_bfloat16_gives_nearly_the_same_masks():
    model = lively().eval()
    x = torch.randn(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        exact = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(x)
    assert ((rough > 0) != (exact > 0)).float().mean() < 0.02


@pytest.mark.parametrize(
    "conv, frames", [(DepthwiseSpace, 1), (DepthwiseSpaceTime, 1), (DepthwiseSpaceTime, 3)]
)
@pytest.mark.parametrize("height, width", [(1, 1), (2, 5), (7, 3)])
def test_fused_depthwise_and_gelu(conv, frames, height, width):
    torch.manual_seed(3)
    module = conv(32)
    x = 3 * torch.randn(2 * frames, height, width, 32)
    with torch.inference_mode():
        assert fused.usable(x, module.weight)
        found = fused.depthwise_gelu(x, module.weight, module.bias, frames)
        torch.testing.assert_close(found, F.gelu(module(x, frames)), atol=3e-6, rtol=1e-5)


def test_fused_parts_stand_back(monkeypatch):
    x, weight = torch.ones(1, 16), torch.nn.Parameter(torch.ones(16))
    assert not fused.usable(x, weight)  # a gradient is wanted
    with torch.no_grad():
        assert fused.usable(x, weight)
        assert not fused.usable(x.double())
        monkeypatch.setenv("VIVIM_SCAN", "torch")
        assert not fused.usable(x, weight)
