"""What the starter learns beside lesions: organs, presence, close-ups; and what is kept out of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from material import SIZE, blob_clip
from vivim.errors import CheckpointError, VivimError
from vivim.network import Vivim, VivimConfig
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.network.targets import for_target
from vivim.training.augmentation import panned
from vivim.training.batch import Batch, Marks
from vivim.training.config import Phase, TrainConfig
from vivim.training.datasets import Clip, kept_out
from vivim.training.distributed import Share
from vivim.training.recipes import read_recipe, to_config
from vivim.training.sampler import Sampler
from vivim.training.sources import Source, load_sources, parse_source
from vivim.training.trainer import train
from vivim.training.training_model import Objective, Outputs, TrainingModel

TINY = VivimConfig(
    size="b0", guided=True, organ=True, presence=True, input_size=(32, 32), temporal_stages=(3,)
)


@pytest.mark.parametrize(
    ("clip", "stems", "out"),
    [
        ("polyp_cvc_clinicdb/20", ["1", "2"], [0, 1]),
        ("polyp_cvc_clinicdb/19", ["1", "2"], []),
        ("thyroid_us_vtus/0002", [f"{t:04d}" for t in range(91)], list(range(61, 91))),
        ("polyp_polypgen_stills", [str(t) for t in range(25)], [0, 10, 20]),
        ("my_own_set/20", ["1", "2"], []),
    ],
)
def test_what_is_kept_out_follows_from_the_list(clip: str, stems: list[str], out: list[int]) -> None:
    assert np.flatnonzero(kept_out(Path("data") / clip, stems)).tolist() == out


def test_the_last_of_each_group_are_kept_out() -> None:
    stems = [f"{group}_{t:03d}" for group in ("benign", "malignant", "normal") for t in range(40)]
    out = kept_out(Path("breast_us_busi_stills"), stems)
    assert [sum(out[at : at + 40]) for at in (0, 40, 80)] == [30, 30, 15]
    assert not out[9] and out[10] and out[39] and not out[104] and out[105]


def test_no_patient_is_both_trained_on_and_kept_out(vivim_data: Path) -> None:
    patients = sorted(path.stem for path in (vivim_data / "thyroid_us_ddti_stills" / "frames").iterdir())
    out = kept_out(vivim_data / "thyroid_us_ddti_stills", patients)
    sides = [
        {p.split("_")[0] for p, o in zip(patients, out, strict=True) if o == side} for side in (True, False)
    ]
    assert sum(out) == 60 and not sides[0] & sides[1]


def test_the_starters_recipe_never_calls_an_organ_a_lesion() -> None:
    config = to_config(read_recipe("starter"))
    organs = {"thyroid_gland_us_tg3k", "glottis_hsv_bagls", "larynx_vocalfolds", "fetal_head_us_hc18_stills"}
    marks = {source.set: source.marks for source in (*config.clips, *config.stills)}
    assert all(marks[name] != "lesion" for name in organs)
    assert config.network.organ and config.network.presence and config.network.guided


def test_sources_are_read_as_asked(tmp_path: Path) -> None:
    from PIL import Image

    clip = blob_clip("a", 0, frames=6)
    clip.masks[3:] = 0
    for kind, pictures in (("frames", clip.frames), ("masks", clip.masks * 255)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for t, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / "set" / kind / f"{t}.png")
    sources = [
        Source("set", 2.0, marks="organ", every=2), Source("set", only="empty"), Source("phantoms", 3.0, count=2)
    ]  # fmt: skip
    clips, weights = load_sources(sources, tmp_path, SIZE, True)
    assert [len(c.frames) for c in clips] == [3, 3, 32, 32] and weights == [2.0, 1.0, 1.5, 1.5]
    assert clips[0].marks is Marks.ORGAN and clips[1].marks is Marks.LESION and not clips[1].masks.any()
    assert parse_source("a/b:3@1.5") == Source("a/b", 1.5, 3)
    with pytest.raises(VivimError, match="cannot be used"):
        to_config({"clips": [{"set": "a", "marks": "tumour"}]})


def organ_batch(marks: Marks, guided: bool) -> Batch:
    masks = torch.zeros(1, 2, 32, 32)
    masks[..., 8:20, 8:20] = 1
    known = torch.tensor([[guided, False]])
    return Batch(
        torch.zeros(1, 2, 3, 32, 32),
        masks,
        torch.zeros(1, 2, 2, 32, 32),
        known,
        masks,
        torch.tensor([int(marks)]),
    )


@pytest.mark.parametrize(
    ("marks", "guided", "wanted"),
    [
        (Marks.LESION, False, "mask"), (Marks.ORGAN, False, "nothing"), (Marks.ORGAN_WITH_LESIONS, False, None),
        (Marks.ORGAN, True, "mask"), (Marks.ORGAN_WITH_LESIONS, True, "mask"),
    ],
)  # fmt: skip
def test_an_organ_is_a_lesion_only_where_an_annotator_marked_it(
    marks: Marks, guided: bool, wanted: str | None
) -> None:
    batch = organ_batch(marks, guided)
    objective = Objective(TrainConfig(network=TINY), Share(), torch.device("cpu"))
    sure = (batch.masks * 2 - 1)[:, :, None] * 20
    presence = torch.full((1, 2), 20.0)
    loss = {
        "mask": objective(Outputs(sure, None, sure, presence), batch)[0].item(),
        "nothing": objective(Outputs(sure * 0 - 20, None, sure, -presence), batch)[0].item(),
    }
    if wanted is None:
        assert loss["mask"] == pytest.approx(loss["nothing"], abs=1e-3)
    else:
        other = ({"mask", "nothing"} - {wanted}).pop()
        assert loss[wanted] < 1e-2 < 1 < loss[other]


def test_a_close_up_pans_inside_the_picture() -> None:
    theta = torch.eye(2, 3).expand(200, 5, 2, 3).clone()
    moved = panned(np.random.default_rng(0), theta, 0.5)
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1], [-1, 1, 1], [1, -1, 1]]).T
    assert (moved @ corners).abs().max() < 1 + 1e-4
    close = moved[:, 0, 0, 0] < 0.99
    assert 60 < int(close.sum()) < 140 and torch.equal(moved[~close], theta[~close])
    assert (moved[close, 0, :, 2] - moved[close, -1, :, 2]).abs().mean() > 0.1


def test_a_batch_says_what_its_masks_mark() -> None:
    organ = Clip(**{**vars(blob_clip("o", 3)), "marks": Marks.ORGAN})
    sampler = Sampler([blob_clip("a", 0), organ], [blob_clip("b", 1)], torch.device("cpu"))
    seen = torch.cat([sampler.batch(number, 6, 4).marks for number in range(4)])
    assert set(seen.tolist()) == {0, 1}


def test_organs_and_presence_are_learnt_and_kept(tmp_path: Path) -> None:
    empty = blob_clip("none", 5)
    empty.masks[:] = 0
    organ = Clip(**{**vars(blob_clip("o", 3)), "marks": Marks.ORGAN})
    config = TrainConfig(network=TINY, steps=2, phases=(Phase(1.0, 8, (2,)),), save_every=1, log_every=1)
    for _ in train([blob_clip("a", 0), organ, empty], [], tmp_path, config):
        pass
    model = load_checkpoint(tmp_path / "model.safetensors")
    assert model.config.organ and model.config.presence
    x = torch.randn(1, 2, 3, 32, 32)
    with torch.no_grad():
        outputs = TrainingModel(model)(x, None)
        assert outputs.organ is not None and outputs.presence is not None
        torch.testing.assert_close(outputs.logits, model(x), atol=1e-4, rtol=1e-4)
        found = for_target(model, "organ")
        assert found.classes == ("organ",) and found.presence is None
        torch.testing.assert_close(found(x), outputs.organ, atol=1e-4, rtol=1e-4)
    assert for_target(model, "lesion") is model
    with pytest.raises(CheckpointError, match="not taught organs"):
        for_target(Vivim(VivimConfig()), "organ")
    with pytest.raises(ValueError, match="Unknown target"):
        for_target(model, "bone")


def test_presence_limits_masks_and_leaves_outlines_alone() -> None:
    torch.manual_seed(0)
    model = Vivim(TINY).eval()
    assert model.presence is not None
    x = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        features = model.features(x)
        plain = model.decode(features, (32, 32)) + 0
        for bias, there in ((8.0, True), (-8.0, False)):
            model.presence.classify.weight.zero_()
            model.presence.classify.bias.fill_(bias)
            gated = model.decode_where_present(features, (32, 32))
            assert torch.equal(gated > 0, (plain > 0) & there)


def test_a_variance_beyond_float16_is_kept(tmp_path: Path) -> None:
    model = Vivim(VivimConfig())
    model.decoder.norm.running_var[3] = 2e5
    save_checkpoint(model, tmp_path / "m.safetensors", {}, torch.float16)
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    assert loaded.decoder.norm.running_var[3] == 2e5
    torch.nn.init.constant_(model.decoder.norm.running_var, float("inf"))
    with pytest.raises(CheckpointError, match="no finite"):
        save_checkpoint(model, tmp_path / "n.safetensors", {}, torch.float16)
