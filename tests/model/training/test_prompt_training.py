"""Training of prompts: what is drawn, that it learns, and that the network itself stays as it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vivim
from vivim import Vivim, VivimConfig, cli
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.training.datasets import Clip
from vivim.training.prompt_material import Material, choose_targets, segmented
from vivim.training.prompt_training import PromptRecipe, _boxes, _drawn, _prompted_places, train_prompts


def squares(frames: int = 3) -> Clip:
    """A grey square and a bright one on dark, the bright one marked."""
    pictures, masks = np.full((frames, 64, 64, 3), 30, np.uint8), np.zeros((frames, 64, 64), np.uint8)
    for t in range(frames):
        pictures[t, 8:28, 6 + t : 26 + t], pictures[t, 36:56, 34:58] = 220, 120
        masks[t, 8:28, 6 + t : 26 + t] = 1
    return Clip("squares", pictures, masks)


def test_segments_follow_what_stands_out() -> None:
    clip = squares()
    for scale in segmented(clip.frames)[0]:
        inside = scale[20:52, 16:48]
        assert (np.bincount(inside.ravel()).max() / inside.size) > 0.8
        assert scale[30, 30] != scale[8, 8] and scale[92, 92] != scale[8, 8]


def test_targets_are_marked_masks_or_segments() -> None:
    torch.manual_seed(0)
    material = Material([squares()], torch.device("cpu"))
    x, masks, segments, other = _drawn(material, torch.zeros(40, dtype=torch.long), 1)
    assert x.shape == (40, 3, 3, 64, 64) and other.any()
    targets, marked = choose_targets(masks, segments, 0.5)
    assert 5 < int(marked.sum()) < 35
    assert (targets[marked] == (masks[marked] == 1)).all()
    bright = [float(x[i, 1, 0][targets[i]].mean()) for i in range(40) if marked[i]]
    dark = [float(x[i, 1, 0][~targets[i]].mean()) for i in range(40) if marked[i]]
    assert np.mean(bright) > np.mean(dark) + 1  # the mask has moved along with its picture
    assert targets[~marked].flatten(1).any(1).float().mean() > 0.5
    boxes = _boxes(targets)
    assert (boxes * targets).sum() > 0.8 * targets.sum()


def test_a_prompt_lies_in_what_is_wrong() -> None:
    torch.manual_seed(0)
    target, current = torch.zeros(30, 64, 64, dtype=torch.bool), torch.zeros(30, 64, 64, dtype=torch.bool)
    target[:, 10:40, 10:40] = True
    current[10:, 10:40, 10:40] = True
    current[10:20, 45:64, 20:60] = True
    places, lesion, wrong = _prompted_places(current, target)
    assert lesion[:10].all() and not lesion[10:20].any()
    assert wrong.tolist() == [True] * 20 + [False] * 10
    at = places.flatten(1).argmax(1)
    assert target[range(10), at[:10] // 64, at[:10] % 64].all()
    assert (current & ~target)[range(10, 20), at[10:20] // 64, at[10:20] % 64].all()


def test_the_head_learns_and_the_network_stays() -> None:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(input_size=(64, 64), temporal_stages=(3,))).eval()
    recipe = PromptRecipe(steps=15, pictures=2, learning_rate=8e-3, average_decay=0.8, report_every=5)
    *_, last = events = list(train_prompts(model, [squares()], recipe))
    assert [event.step for event in events] == [5, 10, 15]
    assert last.loss < events[0].loss
    kept = last.model.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    clip = squares()
    assert np.isfinite(vivim.prompt(last.model, clip.frames, 1, [(18, 16)], [1])).all()


def test_the_command_adds_prompts_to_a_model(
    sample: Any, tiny_model: Vivim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vivim.training.prompt_training.PromptRecipe", partial(PromptRecipe, pictures=1))
    save_checkpoint(tiny_model, tmp_path / "m.safetensors", {"licence": "none"})
    words = ["train", str(sample.clip), "--prompts", "-o", str(tmp_path / "run"), "--steps", "2"]
    words += ["--device", "cpu", "--input-size", "64"]
    assert cli.main(words) != 0  # on top of what?
    assert cli.main([*words, "--initial", str(tmp_path / "m.safetensors")]) == 0
    trained = load_checkpoint(tmp_path / "run" / "model.safetensors")
    assert trained.config.prompts and trained.provenance["prompts"]["steps"] == 2
    assert trained.provenance["licence"] == "none"
    with pytest.raises(ValueError, match="Nothing is prompted"):
        vivim.prompt(trained, sample.frames, 0)
