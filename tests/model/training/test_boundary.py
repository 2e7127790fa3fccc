"""The boundary constraint: edges, the regressor against known transforms, gradients that reach the network."""

from __future__ import annotations

import pytest
import torch
from vivim.network import Vivim, VivimConfig
from vivim.training.boundary_loss import (
    WEIGHTS,
    AffineRegressor,
    boundary_losses,
    load_regressor,
    patches,
    sobel_edges,
)
from vivim.training.training_model import TrainingModel

from scripts.fit_affine_regressor import Edges, pairs, synthetic_masks


@pytest.fixture(scope="module")
def regressor() -> AffineRegressor:
    return load_regressor(torch.device("cpu"))


def disc(row: float, column: float) -> torch.Tensor:
    """A mask ``(64, 64)`` of a disc."""
    ys, xs = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return ((ys - row).square() + (xs - column).square() < 100).float()


def test_edges_are_where_the_mask_changes() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    assert sobel_edges(mask)[0, 0, 3].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert not sobel_edges(torch.ones(1, 1, 8, 8)).any()


def test_patches_tile_the_picture() -> None:
    picture = torch.arange(64.0 * 96).view(1, 1, 64, 96)
    cut = patches(picture)
    assert cut.shape == (1, 6, 32, 32)
    assert torch.equal(cut[0, 4], picture[0, 0, 32:, 32:64])


def test_the_regressor_recovers_known_transforms(regressor: AffineRegressor) -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    edges = Edges.of(synthetic_masks(torch.Generator().manual_seed(11), 100))
    target, moved, theta = pairs(edges, torch.Generator().manual_seed(12), 600)
    away = theta - torch.eye(2, 3)
    found = regressor(target, moved)
    error, nothing = (v.flatten(1).norm(dim=1).mean() for v in (found - away, away))
    assert error < 0.7 * nothing
    for axis in (0, 1):
        shifts = torch.stack((found[:, axis, 2], away[:, axis, 2]))
        assert torch.corrcoef(shifts)[0, 1] > 0.8


def test_the_constraint_wants_edges_in_place(regressor: AffineRegressor) -> None:
    masks = disc(32, 32)[None, None].repeat(1, 2, 1, 1)

    def affine(row: float) -> float:
        logits = sobel_edges(disc(row, 32)[None, None])[0] * 8 - 4
        total, count, _ = boundary_losses(logits[None].repeat(1, 2, 1, 1), masks, regressor)
        return float(total / count)

    assert affine(32) < affine(37) < affine(42)


def test_gradients_reach_the_network_and_not_the_regressor(regressor: AffineRegressor) -> None:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64)))
    trainable = TrainingModel(model, predicts_edges=True)
    edges = trainable(torch.randn(1, 2, 3, 64, 64), None).edges
    assert edges.shape == (1, 2, 1, 16, 16)
    masks = torch.stack((disc(30, 30), disc(34, 34)))[None]
    affine, count, crossed = boundary_losses(edges[:, :, 0], masks, regressor)
    assert count == 8 and crossed.shape == (1,)
    affine.backward()
    first = model.encoder.patch_embeddings[0]
    assert sum(float(p.grad.abs().sum()) for p in first.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in regressor.parameters())
