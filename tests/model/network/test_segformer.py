"""SegFormer weights of the hub, under the names of both transformers 4 and 5, into encoder and decoder."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from vivim import Vivim, VivimConfig
from vivim.cli.train import starting_weights
from vivim.errors import CheckpointError
from vivim.network.config import KEY_REDUCTION, PRESETS
from vivim.network.weight_conversion import fetch_segformer, load_segformer
from vivim.training.config import TrainConfig

BLOCK = [  # own name, transformers 4, transformers 5
    ("norm1", "layer_norm_1", "layernorm_before"),
    ("norm2", "layer_norm_2", "layernorm_after"),
    ("attention.query", "attention.self.query", "attention.q_proj"),
    ("attention.key", "attention.self.key", "attention.k_proj"),
    ("attention.value", "attention.self.value", "attention.v_proj"),
    ("attention.output", "attention.output.dense", "attention.o_proj"),
    ("mlp.fc1", "mlp.dense1", "mlp.fc1"),
    ("mlp.depthwise", "mlp.dwconv.dwconv", "mlp.dwconv.dwconv"),
    ("mlp.fc2", "mlp.dense2", "mlp.fc2"),
]
REDUCTION = [
    ("attention.reduce", "attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
    ("attention.reduce_norm", "attention.self.layer_norm", "attention.sequence_reduction.layer_norm"),
]


def module_names(depths: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    """Every module with weights: own name, transformers 4, transformers 5."""
    for i, depth in enumerate(depths):
        for own, theirs in (("proj", "proj"), ("norm", "layer_norm")):
            yield (
                f"encoder.patch_embeddings.{i}.{own}",
                f"segformer.encoder.patch_embeddings.{i}.{theirs}",
                f"segformer.stages.{i}.patch_embeddings.{theirs}",
            )
        for j in range(depth):
            for own, four, five in BLOCK + (REDUCTION if KEY_REDUCTION[i] > 1 else []):
                yield (
                    f"encoder.mit.{i}.{j}.{own}",
                    f"segformer.encoder.block.{i}.{j}.{four}",
                    f"segformer.stages.{i}.blocks.{j}.{five}",
                )
        yield (
            f"decoder.linears.{i}",
            f"decode_head.linear_c.{i}.proj",
            f"decode_head.linear_projections.{i}.proj",
        )
    yield "decoder.fuse", "decode_head.linear_fuse", "decode_head.linear_fuse"
    yield "decoder.norm", "decode_head.batch_norm", "decode_head.batch_norm"


def donor_and_weights(transformers: int) -> tuple[Vivim, dict[str, torch.Tensor]]:
    """A network with random weights, and what a SegFormer with the same ones would be saved as."""
    donor = Vivim(VivimConfig(size="b0"))
    generator = torch.Generator().manual_seed(3)
    for value in donor.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    own = donor.state_dict()
    weights = {}
    for names in module_names(PRESETS["b0"].depths):
        for key in own:
            if key.rpartition(".")[0] == names[0]:
                weights[f"{names[transformers - 3]}.{key.rpartition('.')[2]}"] = own[key].clone()
    weights["decode_head.classifier.weight"] = torch.zeros(150, 256, 1, 1)
    closing = "segformer.encoder.layer_norm.{}" if transformers == 4 else "segformer.stages.{}.layer_norm"
    weights |= {f"{closing.format(i)}.weight": torch.zeros(w) for i, w in enumerate(PRESETS["b0"].widths)}
    return donor, weights


@pytest.mark.parametrize("transformers", [4, 5])
def test_every_weight_arrives_under_either_set_of_names(transformers: int, tmp_path: Path) -> None:
    donor, weights = donor_and_weights(transformers)
    save_file(weights, tmp_path / "model.safetensors")
    fresh = Vivim(VivimConfig(size="b0"))
    report = load_segformer(fresh, tmp_path / "model.safetensors")
    expected = donor.state_dict()
    for name, value in fresh.state_dict().items():
        if name.startswith(("encoder.temporal.", "decoder.classify.")):
            assert name in report.missing
        else:
            assert torch.equal(value, expected[name]), name
    assert len(report.unused) == 5
    assert "decode_head.classifier.weight" in report.unused


def test_training_from_it_draws_the_rest_by_the_seed(tmp_path: Path) -> None:
    save_file(donor_and_weights(4)[1], tmp_path / "model.safetensors")
    args = argparse.Namespace(initial=None, segformer=str(tmp_path / "model.safetensors"))
    config = TrainConfig(network=VivimConfig(size="b0"), seed=5)
    first, again = starting_weights(args, config), starting_weights(args, config)
    assert first is not None and again is not None
    for (name, one), other in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_bare_encoder_is_enough(tmp_path: Path) -> None:
    donor, weights = donor_and_weights(4)
    bare = {k.removeprefix("segformer."): v for k, v in weights.items() if k.startswith("segformer.")}
    torch.save(bare, tmp_path / "pytorch_model.bin")
    fresh = Vivim(VivimConfig(size="b0"))
    report = load_segformer(fresh, tmp_path / "pytorch_model.bin")
    assert torch.equal(fresh.encoder.mit[3][1].mlp.fc2.weight, donor.encoder.mit[3][1].mlp.fc2.weight)
    assert "decoder.fuse.weight" in report.missing


def test_another_size_is_refused_by_name() -> None:
    _, weights = donor_and_weights(5)
    with pytest.raises(CheckpointError, match=r"segformer\.stages.*has shape"):
        load_segformer(Vivim(VivimConfig(size="b1")), weights)


def fake_hub(monkeypatch: pytest.MonkeyPatch, download) -> None:
    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)


def test_fetching_falls_back_to_the_older_file_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def download(repository: str, filename: str) -> str:
        asked.append((repository, filename))
        if filename.endswith(".safetensors"):
            raise FileNotFoundError("no such entry")
        return str(tmp_path / filename)

    fake_hub(monkeypatch, download)
    assert fetch_segformer("nvidia/mit-b0") == tmp_path / "pytorch_model.bin"
    assert asked == [("nvidia/mit-b0", "model.safetensors"), ("nvidia/mit-b0", "pytorch_model.bin")]


def test_fetching_without_a_connection_or_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(repository: str, filename: str) -> str:
        raise OSError("no route to host")

    fake_hub(monkeypatch, offline)
    with pytest.raises(CheckpointError, match=r"Could not download nvidia/mit-b0 .*no route to host"):
        fetch_segformer("nvidia/mit-b0")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match="pip install"):
        fetch_segformer("nvidia/mit-b0")
