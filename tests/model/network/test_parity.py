"""Agreement with the reference network's numbers, through its own names, for every scan backend."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import vivim
from vivim import Vivim, VivimConfig
from vivim.errors import CheckpointError
from vivim.network import paper
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.network.weight_conversion import load_reference_state_dict, load_segformer
from vivim.scan import available_backends


def reference_value(name: str, shape: list[int]) -> torch.Tensor:
    """The recipe the fixture was made with."""
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("_log"):
        return torch.log(torch.arange(1, 17).float()) + 0.1 * r
    if name.endswith((".D", ".D_b", ".D_s")):
        return 1 + 0.1 * r
    if name.endswith("running_var"):
        return 1 + 0.1 * r.abs()
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("bias") and "dt_proj" in name:
        return -4 + 0.5 * r
    if name.endswith(("bias", "running_mean")):
        return 0.1 * r
    return r / math.sqrt(r[0].numel()) if r.dim() > 1 else 1 + 0.1 * r


@pytest.fixture(scope="module")
def reference(fixtures_folder: Path) -> dict[str, torch.Tensor]:
    shapes = json.loads((fixtures_folder / "upstream_b3_state_dict_shapes.json").read_text())
    return {name: reference_value(name, shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def model(reference) -> Vivim:
    model = Vivim(VivimConfig(size="b3"))
    model.load_reference_state_dict(reference)
    return model.eval()


@pytest.mark.parametrize("backend", available_backends())
def test_logits_equal_the_reference(model: Vivim, fixtures_folder: Path, backend: str, monkeypatch) -> None:
    monkeypatch.setenv("VIVIM_SCAN", backend)
    device = "cuda" if backend == "triton" else "cpu"
    x = torch.randn((1, 5, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(device)
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        logits = model.to(device)(x)[0].cpu().numpy()
    model.cpu()
    expected = np.load(fixtures_folder / "upstream_parity_a.npz")["logits"]
    assert np.abs(logits - expected).max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_logits_of_the_papers_form_equal_the_reference(
    reference, fixtures_folder: Path, dtype: torch.dtype
) -> None:
    model = paper.Vivim(VivimConfig(size="b3")).eval()
    load_reference_state_dict(model, reference)
    x = torch.randn((1, 5, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model.to(dtype)(x.to(dtype))[0]
    assert logits.dtype == dtype
    expected = np.load(fixtures_folder / "upstream_parity_a.npz")["logits"]
    assert np.abs(logits.numpy() - expected).max() < 1e-4


def test_the_report_says_what_was_not_used(reference) -> None:
    report = Vivim(VivimConfig(size="b3")).load_reference_state_dict(reference)
    assert sorted(report.unused) == sorted(
        ["decoder.classifier.weight", "decoder.classifier.bias"]
        + [f"encoder.downsample_layers.layer_norm.{i}.{p}" for i in range(4) for p in ("weight", "bias")]
    )
    assert "10 in the file not used" in str(report)
    assert not report.missing


def test_a_lightning_checkpoint_with_an_edge_head_loads_from_its_file(
    reference, model: Vivim, tmp_path: Path
) -> None:
    state = {f"model.{k}": v for k, v in reference.items()}
    state |= {
        "model.edgeocr_cls_head.weight": torch.ones(1, 64, 1, 1),
        "model.edgeocr_cls_head.bias": torch.ones(1),
    }
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "reference.ckpt")
    loaded = load_checkpoint(tmp_path / "reference.ckpt")
    assert loaded.config == VivimConfig(size="b3", edge_head=True)
    assert loaded.edge_head.bias.item() == 1
    assert torch.equal(loaded.decoder.fuse.weight, model.decoder.fuse.weight)


def test_missing_and_misshapen_tensors_are_named(reference) -> None:
    fewer = {k: v for k, v in reference.items() if k != "decoder.linear_fuse.weight"}
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors .*decoder\.fuse\.weight"):
        Vivim(VivimConfig(size="b3")).load_reference_state_dict(fewer)
    with pytest.raises(CheckpointError, match="has shape"):
        Vivim(VivimConfig(size="b0")).load_reference_state_dict(reference)


def segformer_4(reference) -> dict[str, torch.Tensor]:
    """The same tensors under the names transformers 4 gives them."""
    named = {}
    for name, value in reference.items():
        if name.startswith("encoder.downsample_layers."):
            named[name.replace("encoder.downsample_layers.", "segformer.encoder.")] = value
        elif name.startswith("decoder."):
            named[name.replace("decoder.", "decode_head.", 1)] = value
    return named


def test_segformer_weights_give_encoder_and_decoder(reference, model: Vivim) -> None:
    fresh = Vivim(VivimConfig(size="b3"))
    report = load_segformer(fresh, segformer_4(reference))
    for part in (
        "encoder.mit.2.17.mlp.depthwise.weight",
        "encoder.patch_embeddings.3.norm.bias",
        "decoder.linears.2.weight",
    ):
        assert torch.equal(fresh.state_dict()[part], model.state_dict()[part])
    assert all("temporal" in n or n.startswith("decoder.classify") for n in report.missing)
    with pytest.raises(CheckpointError, match="No SegFormer encoder"):
        load_segformer(fresh, {"something": torch.zeros(1)})


def test_own_files_keep_everything(model: Vivim, tmp_path: Path) -> None:
    model.classes = ("nodule",)
    save_checkpoint(model, tmp_path / "mine.safetensors", {"parent": "none"})
    loaded = load_checkpoint(tmp_path / "mine.safetensors")
    assert loaded.provenance == {"parent": "none"}
    assert loaded.classes == ("nodule",)
    assert loaded.config == model.config
    for (name, a), b in zip(loaded.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


class Malicious:
    """Would run code if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pth", "evil.safetensors"])
@pytest.mark.parametrize("read", [load_checkpoint, vivim.load_model, vivim.import_model])
def test_a_model_file_is_never_unpickled(read, name: str, tmp_path: Path, vivim_home: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "extra": Malicious(marker)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"could run code|damaged"):
        read(tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["junk.safetensors", "junk.pth", "junk.ckpt"])
def test_junk_is_one_clear_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x93 this is no checkpoint " * 50)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    model = Vivim(VivimConfig(size="b0"))
    save_checkpoint(model, tmp_path / "whole.safetensors", {}, dtype=torch.float16)
    data = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "half.safetensors")


def test_tensors_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not those of a Vivim"):
        load_checkpoint(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="There is no model file"):
        load_checkpoint(tmp_path / "absent.pth")
