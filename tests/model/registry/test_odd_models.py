"""Model files that are broken or made to mislead: one sentence wherever a model is loaded, and the list goes on."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from vivim import Vivim, VivimConfig, cli, load_model
from vivim.errors import CheckpointError
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.network.weight_conversion import load_reference_state_dict, load_segformer
from vivim.registry import registry
from vivim.remote.protocol import RemoteError, model_from

NAME = "decoder.classify.weight"
ODD = {
    "sparse": lambda w: w.to_sparse(),
    "compressed": lambda w: w.reshape(w.shape[0], -1).to_sparse_csr(),
    "quantised": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
    "without data": lambda w: w.to("meta"),
    "nan": lambda w: torch.full_like(w, torch.nan),
    "infinite": lambda w: torch.full_like(w, -torch.inf),
    "bool": lambda w: w > 0,
    "int": lambda w: (9 * w).to(torch.int64),
    "byte": lambda w: (9 * w).to(torch.uint8),
    "complex": lambda w: w.to(torch.complex64),
}
STORABLE = ("nan", "infinite", "bool", "int", "byte", "complex")
"""What a safetensors file can hold."""


@pytest.fixture(scope="module")
def network() -> Vivim:
    torch.manual_seed(0)
    return Vivim(VivimConfig(size="b0", input_size=(32, 32)))


@pytest.fixture
def own(network: Vivim, tmp_path: Path) -> Path:
    path = tmp_path / "own.safetensors"
    save_checkpoint(network, path, {})
    return path


def changed(path: Path, tensors: dict | None = None, **config: object) -> Path:
    """A file of ours with other tensors, or another configuration."""
    with safe_open(path, "pt") as file:
        header = dict(file.metadata())
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    header["config"] = json.dumps({**json.loads(header["config"]), **config})
    target = path.with_name("changed.safetensors")
    save_file({**kept, **(tensors or {})}, target, header)
    return target


@pytest.fixture(scope="module")
def theirs(network: Vivim) -> dict[str, torch.Tensor]:
    """Weights under the reference's names, as far as they matter here."""
    state = {}
    for name, value in network.state_dict().items():
        their = name
        their = re.sub(r"^encoder\.temporal\.(\d)\.(\d)\.", r"encoder.stages.\1.\2.0.", their)
        their = re.sub(r"^encoder\.mit\.(\d)\.", r"encoder.downsample_layers.block.\1.", their)
        their = re.sub(r"^encoder\.(patch_embeddings|layer_norm)\.", r"encoder.downsample_layers.\1.", their)
        for suffix, branch in (("_b", "backward"), ("_s", "temporal"), ("", "onward")):
            their = re.sub(rf"mamba\.branches\.{branch}\.A_log$", f"mamba.A{suffix}_log", their)
            their = re.sub(rf"mamba\.branches\.{branch}\.D$", f"mamba.D{suffix}", their)
            their = re.sub(rf"mamba\.branches\.{branch}\.conv\.", f"mamba.conv1d{suffix}.", their)
            their = re.sub(rf"mamba\.branches\.{branch}\.(x_proj|dt_proj)\.", rf"mamba.\1{suffix}.", their)
        their = their.replace("decoder.classify.", "out.")
        state[their] = value
    return state


@pytest.mark.parametrize("kind", STORABLE)
def test_odd_weights_in_a_file_of_ours(own: Path, network: Vivim, kind: str) -> None:
    path = changed(own, {NAME: ODD[kind](network.state_dict()[NAME])})
    for load in (load_model, load_checkpoint, registry.import_model):
        with pytest.raises(CheckpointError, match=NAME):
            load(path)
    with pytest.raises(RemoteError):
        model_from(path.read_bytes(), 2**20)
    assert [info.name for info in registry.list_models()] == ["starter"]


@pytest.mark.parametrize("kind", ODD)
def test_odd_weights_in_a_checkpoint_of_the_reference(theirs, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "theirs.ckpt"
    torch.save({**theirs, "out.weight": ODD[kind](theirs["out.weight"])}, path)
    for load in (load_model, registry.import_model):
        with pytest.raises(CheckpointError):
            load(path)


def test_a_checkpoint_of_the_reference_loads(theirs, tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    torch.save({"state_dict": {f"model.{name}": value for name, value in theirs.items()}}, path)
    assert load_model(path).config.size == "b0"


@pytest.mark.parametrize("key", [7, ("a",), None, b"x"])
def test_names_that_are_no_text(theirs, network: Vivim, tmp_path: Path, key: object) -> None:
    path, weights = tmp_path / "theirs.pth", {**theirs, key: theirs["out.weight"]}
    torch.save(weights, path)
    for load in (load_model, registry.import_model):
        with pytest.raises(CheckpointError):
            load(path)
    with pytest.raises(CheckpointError, match="no text"):
        load_reference_state_dict(network, weights)
    with pytest.raises(CheckpointError, match="no text"):
        load_segformer(network, weights)


@pytest.mark.parametrize(
    "config",
    [
        {"num_classes": True},
        {"num_classes": 1.0},
        {"num_classes": "1"},
        {"num_classes": None},
        {"num_classes": [1]},
        {"num_classes": 10**9},
        {"edge_head": 1},
        {"guided": "no"},
        {"input_size": [True, 32]},
        {"input_size": [32.0, 32]},
        {"input_size": "32"},
        {"input_size": 32},
        {"drop_path": True},
        {"drop_path": float("nan")},
        {"drop_path": "0"},
        {"size": ["b0"]},
        {"temporal_stages": [True]},
        {"temporal_stages": 3},
        {"scans": None},
    ],
)
def test_odd_configurations(own: Path, config: dict) -> None:
    path = changed(own, **config)
    for load in (load_model, registry.import_model):
        with pytest.raises(CheckpointError, match="does not describe a Vivim"):
            load(path)
    assert registry.model_info(path).description.startswith("cannot be used")


def test_weights_that_do_not_fit_half_precision_are_kept_whole(network: Vivim) -> None:
    large = copy.deepcopy(network)
    with torch.no_grad():
        large.decoder.classify.bias += 1e6
    registry.save_version(large, "large", {})
    assert torch.equal(load_model("large").decoder.classify.bias, large.decoder.classify.bias)


def test_weights_that_are_no_numbers_make_no_version(network: Vivim) -> None:
    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken.decoder.classify.bias += torch.inf
    with pytest.raises(CheckpointError, match=r"decoder\.classify\.bias"):
        registry.save_version(broken, "broken", {})
    assert [info.name for info in registry.list_models()] == ["starter"]


def test_odd_things_in_the_folder_do_not_stop_the_list(own: Path, vivim_home: Path, capsys) -> None:
    folder = vivim_home / "models"
    folder.mkdir(parents=True)
    (folder / "dangling.safetensors").symlink_to(folder / "nowhere")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    (folder / "folder.safetensors").mkdir()
    (folder / "empty.safetensors").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.safetensors")
    registry.import_model(own, "good")
    found = {info.name: info.description for info in registry.list_models()}
    odd = set(found) - {"good", "starter"}
    assert {"dangling", "loop", "folder", "empty"} <= odd and found["good"].startswith("Vivim b0")
    assert all(found[name].startswith("cannot be used") for name in odd)
    assert cli.main(["models", "list"]) == 0 and "good" in capsys.readouterr().out
    for name in odd:
        with pytest.raises(CheckpointError):
            load_model(name)
    assert registry.save_version(load_model("good"), "dangling", {}).name == "dangling-2"


@pytest.mark.parametrize(
    "facts",
    [
        {"frames": True, "sessions": False, "before": True, "after": True},
        {"before": float("nan"), "after": float("inf")},
        {"before": 10**400, "frames": "5"},
        {"version": 3, "parent": ["x"], "created": {}, "learned_from": [1, None], "licence": 4},
    ],
)
def test_facts_of_other_kinds_count_as_not_said(network: Vivim, tmp_path: Path, facts: dict) -> None:
    path = tmp_path / "facts.safetensors"
    save_checkpoint(network, path, facts)
    info = registry.model_info(path)
    assert (info.frames, info.sessions, info.before, info.after) == (None, None, None, None)
    assert (info.version, info.parent, info.created, info.learned_from, info.licence) == (
        "",
        None,
        None,
        (),
        None,
    )
