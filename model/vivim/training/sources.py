"""What a run learns from: data sets with their weights, as a recipe or the command line names them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vivim.errors import VivimError
from vivim.imaging.resize import resize_frame
from vivim.training.batch import Marks
from vivim.training.datasets import Clip, load_dataset, split_label
from vivim.training.synthetic_lesions import implanted
from vivim.video import make_phantom

PHANTOMS = "phantoms"
"""Name of the source of synthetic clips, half speckle and half mucosa."""

FIRST_SEED = 1000
"""Seed of the first synthetic clip. Those below are kept for scores, see ``validation.toml``."""

MARKS = {"lesion": Marks.LESION, "organ": Marks.ORGAN, "organ with lesions": Marks.ORGAN_WITH_LESIONS}


@dataclass(frozen=True)
class Source:
    """A data set and how it is used."""

    set: str
    """Its folder, or ``"phantoms"``."""
    weight: float | None = None
    """How often it is drawn, beside the others of its kind. None for the number of its clips."""
    label: int | None = None
    """The label of label pictures that counts, None for any."""
    marks: str = "lesion"
    """What its masks mark, one of `MARKS`."""
    every: int = 1
    """Takes the first of every so many pictures."""
    only: str = ""
    """``"empty"`` takes the pictures in which nothing is marked."""
    count: int = 0
    """Number of phantoms."""
    implants: int = 0
    """Number of pictures made by setting synthetic lesions into its pictures, which take their place."""

    def __post_init__(self) -> None:
        if self.marks not in MARKS:
            raise ValueError(f"marks of {self.set} must be one of {', '.join(MARKS)}, not {self.marks!r}.")
        if self.only not in ("", "empty"):
            raise ValueError(f'only of {self.set} can be "empty", not {self.only!r}.')
        if self.every < 1:
            raise ValueError(f"every of {self.set} must be at least 1, not {self.every}.")


def parse_source(text: str, implants: int = 0) -> Source:
    """Read ``FOLDER[:LABEL][@WEIGHT]``."""
    place, _, weight = text.partition("@")
    folder, label = split_label(place)
    return Source(str(folder), float(weight) if weight else None, label, implants=implants)


def load_sources(
    sources: Iterable[Source],
    folder: Path,
    size: tuple[int, int],
    stills: bool,
    *,
    seed: int = 0,
    leave_out: tuple[str, ...] = (),
    skipped: Callable[[str], None] | None = None,
) -> tuple[list[Clip], list[float]]:
    """Read the clips of all sources, and how often each is drawn. A source's weight is shared by its clips.

    The folders of sources are looked for in `folder`. `stills` are independent of each other. `seed` seeds what is
    synthetic. `leave_out` and `skipped` are as for `vivim.training.datasets.load_dataset`.
    """
    clips: list[Clip] = []
    weights: list[float] = []
    for source in sources:
        if source.set == PHANTOMS:
            loaded = phantoms(source.count, size)
        else:
            spec = str(folder / source.set) + ("" if source.label is None else f":{source.label}")
            loaded = [_chosen(clip, source) for clip in load_dataset(spec, size, stills, leave_out, skipped)]
            loaded = [clip for clip in loaded if len(clip.frames)]
            if not loaded:
                raise VivimError(f"{source.set} has no picture without a lesion that may be trained on.")
        if source.implants:
            loaded = [implanted(loaded, source.implants, seed)]
        clips += [replace(clip, marks=MARKS[source.marks]) for clip in loaded]
        weight = len(loaded) if source.weight is None else source.weight
        weights += [weight / len(loaded)] * len(loaded)
    return clips, weights


def _chosen(clip: Clip, source: Source) -> Clip:
    frames, masks = clip.frames[:: source.every], clip.masks[:: source.every]
    if source.only == "empty":
        empty = ~masks.any((1, 2))
        frames, masks = frames[empty], masks[empty]
    return replace(clip, frames=frames, masks=masks)


def phantoms(count: int, size: tuple[int, int]) -> list[Clip]:
    """Synthetic clips with known lesions, half speckle and half mucosa."""
    clips = []
    for seed in range(count):
        texture = ("speckle", "mucosa")[seed % 2]
        phantom = make_phantom(frames=32, size=size, texture=texture, seed=FIRST_SEED + seed)
        frames = np.stack([resize_frame(frame, size) for frame in phantom.frames])
        clips.append(Clip(f"phantom/{texture}-{seed}", frames, phantom.masks))
    return clips
