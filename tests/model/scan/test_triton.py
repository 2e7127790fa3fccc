"""The Triton scan against the float64 loop: on the GPU where there is one, else interpreted on the CPU."""

from __future__ import annotations

import importlib
import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are imported, which the first test does

pytest.importorskip("triton", reason="triton is not installed")

CASES = {
    "odd sizes, two chunks": ((1, 37, 5, 3), ()),
    "two blocks of channels, batch": ((2, 3, 33, 16), ()),
    "no options": ((1, 6, 4, 1), ("D", "z", "delta_bias")),
    "no gate": ((1, 4, 4, 2), ("z",)),
}


@pytest.mark.parametrize(("shape", "without"), CASES.values(), ids=CASES.keys())
def test_agrees_with_the_loop_of_the_paper(shape, without, inputs, agrees):
    agrees(inputs(*shape, without=without, device=DEVICE), "triton", 1e-5)


def test_more_chunks_than_one_program_joins(inputs, agrees, monkeypatch):
    triton_scan = importlib.import_module("vivim.scan.cuda.triton_scan")
    monkeypatch.setattr(triton_scan, "_CARRY_ROWS", 2)
    monkeypatch.setattr(triton_scan, "_CHUNK_SIZES", (4,))
    triton_scan._grid_of.cache_clear()
    agrees(inputs(2, 21, 3, 2, device=DEVICE), "triton", 1e-5)
    triton_scan._grid_of.cache_clear()


def test_bfloat16_inputs(inputs, agrees):
    agrees(inputs(1, 5, 4, 4, dtype=torch.bfloat16, device=DEVICE), "triton", 1e-2)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device: too slow when interpreted")
@pytest.mark.parametrize(
    "shape", [(2, 1000, 128, 16), (1, 300, 1024, 16), (8, 513, 65, 17), (64, 2048, 64, 16)]
)
def test_agrees_on_the_gpu_at_size(shape, inputs, agrees):
    agrees(inputs(*shape, device=DEVICE), "triton", 2e-5)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_gradients_are_the_same_each_time(inputs, outcome):
    values = inputs(2, 700, 96, 16, device=DEVICE)
    first, second = outcome(values, "triton"), outcome(values, "triton")
    assert all(torch.equal(first[name], second[name]) for name in first)
