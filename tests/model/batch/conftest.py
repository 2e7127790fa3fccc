"""A few tiny videos, a tiny model, and what this process makes of them: what every cluster must make of them too."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from vivim.batch.inputs import find
from vivim.batch.jobs import Job, Outcome, Segmenting
from vivim.batch.run import run
from vivim.network.checkpoints import save_checkpoint
from vivim.video import make_phantom, write_video

FRAMES = (9, 16, 7, 12)


@dataclass(frozen=True)
class Study:
    """Videos of `FRAMES` frames each, and the options to segment them with."""

    videos: Path
    options: Segmenting
    plain: Path
    home: Path
    """Where it is noted where the videos are."""

    frames = FRAMES

    def jobs(self, out: Path, **options: object) -> list[Job]:
        chosen = replace(self.options, **options)
        return [Job(str(one.path), one.stem, str(out), chosen) for one in find([self.videos], out)]

    @staticmethod
    def outcomes(jobs: Sequence[Job], cluster: str | None = None) -> dict[str, Outcome]:
        return {event.stem: event for event in run(jobs, cluster) if isinstance(event, Outcome)}

    @staticmethod
    def pictures(out: Path) -> dict[str, bytes]:
        """Every mask that was written, by its place."""
        return {
            path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("masks/*.png"))
        }


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, tiny_model) -> Study:
    root = tmp_path_factory.mktemp("study")
    (root / "videos").mkdir()
    for i, frames in enumerate(FRAMES):
        phantom = make_phantom(frames=frames, size=(64, 64), seed=i)
        write_video(root / "videos" / f"scan{i}.mp4", phantom.frames, phantom.fps)
    save_checkpoint(tiny_model, root / "tiny.safetensors", {"licence": "test"})
    from vivim.registry.registry import load_model

    version = load_model(str(root / "tiny.safetensors")).version
    options = Segmenting(str(root / "tiny.safetensors"), version, device="cpu", clip_length=4)
    made = Study(root / "videos", options, root / "plain", root / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIVIM_HOME", str(made.home))
        assert {outcome.status for outcome in made.outcomes(made.jobs(made.plain)).values()} == {"done"}
    return made


@pytest.fixture
def study(made_once: Study, vivim_home: Path) -> Study:
    """The study, as the person who made it meets it: what is noted of its videos is known."""
    shutil.copytree(made_once.home / "videos", vivim_home / "videos")
    return made_once
