"""Sizes and options of a Vivim network."""

import operator
from dataclasses import dataclass
from typing import Any

STATE_SIZE = 16
"""Number of states N in every channel of a selective scan."""

HEADS = (1, 2, 5, 8)
"""Attention heads of the four MiT stages."""

KEY_REDUCTION = (8, 4, 2, 1)
"""Factor by which each MiT stage shrinks the grid of its keys and values."""

SCANS = ("onward", "backward", "temporal")
"""The three scans of ST-Mamba: the paper's temporal forward, temporal backward and spatial scan (its Fig. 4)."""

STAGES = 4

MOST_CLASSES = 255
"""Masks are uint8, and 0 is background."""


@dataclass(frozen=True)
class SizePreset:
    """Widths and depths that a size name (b0 to b5) stands for."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder_width: int


PRESETS = {
    "b0": SizePreset((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": SizePreset((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": SizePreset((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": SizePreset((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": SizePreset((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": SizePreset((64, 128, 320, 512), (3, 6, 40, 3), 768),
}


@dataclass(frozen=True)
class VivimConfig:
    """Size and options of a Vivim network.

    Parameters
    ----------
    size : str
        One of ``"b0"`` to ``"b5"`` (SegFormer's sizes; the paper uses b3).
    num_classes : int
        Number of logit planes C; 1 means lesion against background.
    edge_head : bool
        Whether the network also predicts boundaries from its first stage.
    organ : bool
        Whether the decoder also has logits for organs, which are no lesions; see `vivim.network.targets`.
    presence : bool
        Whether the network also says for each frame whether there is a lesion; see `vivim.network.decoder`.
    guided : bool
        Whether corrected masks may be given beside the frames (two extra planes, see `Vivim.forward`).
    prompts : bool
        Whether there is a head for clicks, boxes, scribbles and masks to start from, see `PromptHead`.
    input_size : tuple of int
        Height and width in pixels that frames are resized to; divisible by 32. The weights work at other
        sizes too, this is the size they were trained at.
    drop_path : float
        Largest rate of stochastic depth, used in training only; grows linearly with depth.
    scans : tuple of str
        Which of the three scans each Temporal Mamba block has; fewer are for ablations.
    temporal_stages : tuple of int
        Which of the stages 0 to 3 have Temporal Mamba blocks; without any, this is SegFormer frame by frame.
    """

    size: str = "b0"
    num_classes: int = 1
    edge_head: bool = False
    organ: bool = False
    presence: bool = False
    guided: bool = False
    prompts: bool = False
    input_size: tuple[int, int] = (256, 256)
    drop_path: float = 0.0
    scans: tuple[str, ...] = SCANS
    temporal_stages: tuple[int, ...] = tuple(range(STAGES))

    def __post_init__(self) -> None:
        if not isinstance(self.size, str) or self.size not in PRESETS:
            raise ValueError(f"Unknown size {self.size!r}; choose one of {', '.join(PRESETS)}.")
        for name in ("edge_head", "organ", "presence", "guided", "prompts"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}.")
        if isinstance(self.drop_path, bool) or not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path must be a number from 0 to below 1, not {self.drop_path!r}.")
        object.__setattr__(self, "num_classes", _whole("num_classes", self.num_classes))
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {self.num_classes}.")
        object.__setattr__(self, "input_size", tuple(_whole("input_size", v) for v in self.input_size))
        if len(self.input_size) != 2 or any(v < 32 or v % 32 for v in self.input_size):
            raise ValueError(f"input_size must be two positive multiples of 32, not {self.input_size}.")
        object.__setattr__(self, "scans", tuple(self.scans))
        stages = sorted(_whole("temporal_stages", v) for v in self.temporal_stages)
        object.__setattr__(self, "temporal_stages", tuple(stages))
        if not self.scans or not set(self.scans) <= set(SCANS):
            raise ValueError(f"scans must be some of {', '.join(SCANS)}, not {self.scans}.")
        if not set(self.temporal_stages) <= set(range(STAGES)):
            raise ValueError(f"temporal_stages must be among 0 to {STAGES - 1}, not {self.temporal_stages}.")

    @property
    def preset(self) -> SizePreset:
        """Widths and depths of this size."""
        return PRESETS[self.size]


def _whole(name: str, value: Any) -> int:
    """Return a whole number as int, NumPy's included, and raise `ValueError` for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    return operator.index(value)


def class_names(count: int, given: object = ()) -> tuple[str, ...]:
    """Return the names `given` where they are `count` different texts, else default names."""
    if isinstance(given, list | tuple) and len(given) == count:
        names = tuple(name for name in given if isinstance(name, str) and name.strip())
        if len(set(names)) == count:
            return names
    return ("lesion",) if count == 1 else tuple(f"class {number}" for number in range(1, count + 1))
