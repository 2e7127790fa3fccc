"""The registry: nothing overwritten, the header tells all, and the default never points into the void."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from vivim import Vivim, load_model
from vivim.errors import CheckpointError
from vivim.network.checkpoints import save_checkpoint
from vivim.registry import registry

FACTS = {"parent": "starter", "frames": 5, "sessions": 1, "before": 0.5, "after": 0.75}


@pytest.fixture
def model(tiny_model: Vivim) -> Vivim:
    return copy.deepcopy(tiny_model)


def test_a_version_is_one_file_that_knows_everything(model: Vivim, vivim_home: Path) -> None:
    info = registry.save_version(model, "liver", FACTS)
    assert [p.name for p in (vivim_home / "models").iterdir()] == ["liver.safetensors"]
    assert (info.name, info.parent, info.frames, info.before, info.after) == (
        "liver",
        "starter",
        5,
        0.5,
        0.75,
    )
    assert len(info.version) == 12 and info.created.endswith("Z")
    with safe_open(info.path, "pt") as file:
        assert set(file.metadata()) == {"format", "config", "classes", "provenance"}
        assert file.get_tensor("decoder.classify.weight").dtype == torch.float16
    loaded = load_model("liver")
    assert (loaded.name, loaded.version) == ("liver", info.version)
    assert loaded.provenance["parent"] == "starter"
    assert not loaded.training
    assert loaded.decoder.fuse.weight.dtype == torch.float32
    assert info in registry.list_models()


def test_the_same_weights_are_the_same_version(model: Vivim) -> None:
    one, two = registry.save_version(model, "one", {}), registry.save_version(model, "two", {})
    assert one.version == two.version == load_model("two").version
    with torch.no_grad():
        model.decoder.classify.bias += 1
    assert registry.save_version(model, "three", {}).version != one.version


def test_a_taken_name_gets_a_number_and_the_old_file_stays(model: Vivim) -> None:
    first = registry.save_version(model, "liver", {})
    before = first.path.read_bytes()
    assert registry.save_version(model, "liver", {}).name == "liver-2"
    assert registry.save_version(model, "liver", {}).name == "liver-3"
    assert first.path.read_bytes() == before


def test_fine_tunes_that_end_together_do_not_overwrite_each_other(model: Vivim) -> None:
    with ThreadPoolExecutor(6) as pool:
        saved = list(pool.map(lambda _: registry.save_version(copy.deepcopy(model), "liver", {}), range(6)))
    assert sorted(info.name for info in saved) == ["liver", *(f"liver-{i}" for i in range(2, 7))]
    assert all(info.path.is_file() for info in saved)


def test_a_folder_that_cannot_be_written_is_said_clearly(model: Vivim, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIVIM_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(CheckpointError, match=r"Cannot write models in .*: Not a directory"):
        registry.save_version(model, "liver", {})


@pytest.mark.parametrize("name", ["", "starter", "../out", "a/b", ".hidden", "x" * 81, "a\nb"])
def test_names_that_could_do_harm(name: str, model: Vivim) -> None:
    with pytest.raises(CheckpointError, match="cannot be the name"):
        registry.save_version(model, name, {})
    assert not registry.models_folder().exists()


def test_rename_and_remove(model: Vivim) -> None:
    registry.save_version(model, "old", FACTS)
    registry.save_version(model, "taken", {})
    registry.set_default_model("old")
    renamed = registry.rename_model("old", "taken")
    assert (renamed.name, renamed.parent) == ("taken-2", "starter")
    assert registry.default_model_name() == "taken-2"
    registry.remove_model("taken-2")
    assert registry.default_model_name() == "starter"
    assert [info.name for info in registry.list_models() if info.name != "starter"] == ["taken"]
    for action in (registry.remove_model, lambda name: registry.rename_model(name, "new"), load_model):
        with pytest.raises(CheckpointError, match="There is no model"):
            action("absent")


def test_the_starter_cannot_be_touched() -> None:
    for action in (registry.remove_model, lambda name: registry.rename_model(name, "mine")):
        with pytest.raises(CheckpointError, match="starter belongs to the program"):
            action("starter")


def test_import_checks_and_export_does_not_overwrite(model: Vivim, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "from a colleague.safetensors", FACTS)
    info = registry.import_model(tmp_path / "from a colleague.safetensors")
    assert (info.name, info.parent) == ("from a colleague", "starter")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="damaged"):
        registry.import_model(tmp_path / "junk.safetensors")
    copied = registry.export_model(info.name, tmp_path / "copy.safetensors")
    assert copied.read_bytes() == info.path.read_bytes()
    with pytest.raises(CheckpointError, match="exists already"):
        registry.export_model(info.name, tmp_path / "copy.safetensors")
    assert registry.import_model(copied, "again").version == info.version


def test_a_damaged_version_does_not_spoil_the_list(model: Vivim) -> None:
    good, bad = registry.save_version(model, "good", {}), registry.save_version(model, "bad", {})
    bad.path.write_bytes(good.path.read_bytes()[:1000])
    listed = {info.name: info.description for info in registry.list_models()}
    assert listed["bad"].startswith("cannot be used")
    assert listed["good"] == "Vivim b0, 64x64, guided by corrections"


@pytest.mark.parametrize("content", ["", "[]", '{"default_model": "gone"}', '{"default_model": 3}', "\xff"])
def test_bad_settings_fall_back_to_the_starter(content: str, vivim_home: Path) -> None:
    (vivim_home / "settings.json").write_text(content, encoding="latin-1")
    assert registry.default_model_name() == "starter"


def test_a_model_by_its_path(model: Vivim, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "mine.safetensors", {})
    loaded = load_model(tmp_path / "mine.safetensors")
    assert loaded.name == "mine"
    for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_missing_starter_is_said_clearly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "starter_path", lambda: tmp_path / "starter.safetensors")
    assert registry.list_models() == []
    with pytest.raises(CheckpointError, match=r"starter model is missing.*choose\s+another"):
        load_model()


def test_a_model_that_another_program_removes_meanwhile_is_an_error_that_says_so(
    model: Vivim, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = registry.save_version(model, "liver", {})
    default = registry.default_model_name

    def removed_meanwhile() -> str:
        info.path.unlink(missing_ok=True)
        return default()

    with pytest.raises(CheckpointError, match="no model 'lungs'"):
        registry.remove_model("lungs")
    monkeypatch.setattr(registry, "default_model_name", removed_meanwhile)
    with pytest.raises(CheckpointError, match="no model 'liver'"):
        registry.rename_model("liver", "kidney")
    with pytest.raises(CheckpointError, match="no model 'liver'"):
        registry.remove_model("liver")


def test_a_folder_that_cannot_be_looked_into_holds_no_models(
    vivim_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a share that refuses or has gone: the starter is still offered."""
    registry.change_settings(default_model="liver")
    stat = Path.stat

    def refused(path: Path, **options: object) -> object:
        if path.is_relative_to(vivim_home / "models"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    assert registry.default_model_name() == "starter"
    with pytest.raises(CheckpointError, match="no model or file 'liver'"):
        registry.model_path("liver")
