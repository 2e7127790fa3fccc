"""Conversion of weights under other names: the reference implementation's, and SegFormer's from a model hub.

Names are translated by the short tables below, one rule a line, applied in order. The target may be any module with the
names of `vivim.network.vivim`, so `vivim.network.paper` loads the same files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from vivim.errors import CheckpointError
from vivim.network.config import PRESETS, VivimConfig
from vivim.network.state_dict import check_stored, check_weights, read_state_dict

_SEGFORMER_RULES = (
    (r"\.patch_embeddings\.(\d)\.layer_norm\.", r".patch_embeddings.\1.norm."),
    (r"\.block\.(\d)\.", r".mit.\1."),
    (r"\.layer_norm_(\d)\.", r".norm\1."),
    (r"\.attention\.self\.sr\.", ".attention.reduce."),
    (r"\.attention\.self\.layer_norm\.", ".attention.reduce_norm."),
    (r"\.attention\.self\.", ".attention."),
    (r"\.attention\.output\.dense\.", ".attention.output."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    (r"\.dwconv\.dwconv\.", ".depthwise."),
    (r"^decoder\.linear_c\.(\d)\.proj\.", r"decoder.linears.\1."),
    (r"^decoder\.linear_fuse\.", "decoder.fuse."),
    (r"^decoder\.batch_norm\.", "decoder.norm."),
)
"""Names of MiT and decoder in transformers 4 and in the reference, behind ``encoder.`` and ``decoder.``."""

_BRANCHES = {"_b": "backward", "_s": "temporal", "": "onward"}

_REFERENCE_RULES = (
    (r"^encoder\.downsample_layers\.", "encoder."),
    (r"^encoder\.stages\.(\d)\.(\d)\.0\.", r"encoder.temporal.\1.\2."),
    *(
        rule
        for suffix, name in _BRANCHES.items()
        for rule in (
            (rf"\.mamba\.A{suffix}_log$", rf".mamba.branches.{name}.A_log"),
            (rf"\.mamba\.D{suffix}$", rf".mamba.branches.{name}.D"),
            (rf"\.mamba\.conv1d{suffix}\.", rf".mamba.branches.{name}.conv."),
            (rf"\.mamba\.(x_proj|dt_proj){suffix}\.", rf".mamba.branches.{name}.\1."),
        )
    ),
    *_SEGFORMER_RULES,
    (r"^edgeocr_cls_head\.", "edge_head."),
    (r"^out\.", "decoder.classify."),
)

_HUB_RULES = (
    (r"^segformer\.", ""),
    (r"^decode_head\.", "decoder."),
    (r"^(stages|encoder\.stages)\.(\d)\.patch_embeddings\.", r"encoder.patch_embeddings.\2."),
    (r"^(stages|encoder\.stages)\.(\d)\.blocks\.(\d+)\.", r"encoder.mit.\2.\3."),
    (r"^(stages|encoder\.stages)\.(\d)\.layer_norm\.", r"encoder.layer_norm.\2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.", ".attention.key."),
    (r"\.attention\.v_proj\.", ".attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output."),
    (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.reduce."),
    (r"\.attention\.sequence_reduction\.layer_norm\.", ".attention.reduce_norm."),
    (r"^decoder\.linear_projections\.(\d)\.proj\.", r"decoder.linears.\1."),
)
"""Names of SegFormers on the hub: the prefixes of transformers 4, and all names of transformers 5."""


@dataclass(frozen=True)
class LoadReport:
    """Names of a foreign checkpoint that were loaded and not used, and own names that it lacks."""

    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{len(self.loaded)} tensors loaded, {len(self.unused)} in the file not used"
        if self.unused:
            text += f" ({_few(self.unused)})"
        if self.missing:
            text += f", {len(self.missing)} not in the file and left as they were ({_few(self.missing)})"
        return text + "."


def _few(names: tuple[str, ...] | list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _translate(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def strip_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix ``model.`` of Lightning from all names."""
    if any(name.startswith("model.encoder.") for name in state_dict):
        return {name.removeprefix("model."): value for name, value in state_dict.items()}
    return dict(state_dict)


def is_reference(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the reference implementation."""
    return any(name.startswith("encoder.downsample_layers.") for name in strip_prefix(state_dict))


def reference_config(state_dict: Mapping[str, Tensor]) -> VivimConfig:
    """Determine size, classes and edge head of a reference checkpoint from its names and shapes."""
    names = strip_prefix(state_dict)
    depths, widths = [], []
    for stage in range(4):
        pattern = re.compile(rf"^encoder\.downsample_layers\.block\.{stage}\.(\d+)\.")
        numbers = [int(found[1]) for name in names if (found := pattern.match(name))]
        depths.append(max(numbers, default=-1) + 1)
        embed = names.get(f"encoder.downsample_layers.patch_embeddings.{stage}.proj.weight")
        widths.append(int(embed.shape[0]) if embed is not None else 0)
    out = names.get("out.weight")
    for size, preset in PRESETS.items():
        if preset.widths == tuple(widths) and preset.depths == tuple(depths) and out is not None:
            return VivimConfig(
                size=size, num_classes=int(out.shape[0]), edge_head="edgeocr_cls_head.weight" in names
            )
    raise CheckpointError(
        f"This checkpoint has widths {widths} and depths {depths}, which is no Vivim of size b0 to b5. "
        "Choose a Vivim checkpoint."
    )


def load_reference_state_dict(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: object = "The checkpoint"
) -> LoadReport:
    """Load the reference implementation's weights into `model`, with or without the prefix ``model.`` or an edge head.

    Raises `CheckpointError` if a parameter of the encoder or decoder is missing, has another shape, or is no dense
    tensor of finite floating-point numbers. Messages call the weights `source`.
    """
    check_stored(state_dict, source)
    names = strip_prefix(state_dict)
    renamed = {_translate(name, _REFERENCE_RULES): name for name in names}
    report = _load(model, {own: names[theirs] for own, theirs in renamed.items()}, renamed, source)
    needed = [name for name in report.missing if not name.startswith(("edge_head.", "guide_embed."))]
    if needed:
        raise CheckpointError(f"The checkpoint lacks {len(needed)} tensors of this network ({_few(needed)}).")
    return report


def load_segformer(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
    """Load SegFormer weights into encoder and decoder. The temporal blocks stay as they are.

    `source` is a ``.safetensors`` or ``.bin``/``.pth`` file, or a state dict, with the names of transformers 4 or 5, of
    a bare MiT (``nvidia/mit-b0``) or a whole SegFormer (``nvidia/segformer-b3-finetuned-ade-512-512``).
    """
    if isinstance(source, (str, Path)):
        source = read_state_dict(Path(source))
    check_stored(source, "The checkpoint")
    renamed = {_translate(name, _HUB_RULES + _SEGFORMER_RULES): name for name in source}
    report = _load(model, {own: source[theirs] for own, theirs in renamed.items()}, renamed, "The checkpoint")
    if not any(".mit." in name for name in report.loaded):
        raise CheckpointError(
            "No SegFormer encoder found in this file. Give the weights of a MiT or SegFormer."
        )
    return report


def fetch_segformer(repository: str) -> Path:
    """Download SegFormer weights (``nvidia/mit-b0`` and the like) once, by the hub's client, and return their file."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(
            'Downloading weights needs huggingface_hub: pip install "napari-vivim[train]".'
        ) from error
    problems = []
    for filename in ("model.safetensors", "pytorch_model.bin"):
        try:
            return Path(hf_hub_download(repository, filename))
        except (OSError, ValueError) as error:  # the client's own errors derive from these
            problems.append(f"{filename}: {error}")
    raise CheckpointError(
        f"Could not download {repository} ({problems[0]}). Check the name and the connection."
    )


def _load(model: nn.Module, renamed: dict[str, Tensor], origin: dict[str, str], source: object) -> LoadReport:
    own = model.state_dict()
    check_weights(renamed, own, source)
    for name, value in renamed.items():
        if name in own and own[name].shape != value.shape:
            raise CheckpointError(
                f"{origin[name]} has shape {tuple(value.shape)}, this network needs {tuple(own[name].shape)}. "
                "Choose the same size (b0 to b5) and number of classes."
            )
    fitting = {name: value for name, value in renamed.items() if name in own}
    model.load_state_dict(fitting, strict=False)
    unused = tuple(origin[name] for name in renamed if name not in own)
    missing = tuple(name for name in own if name not in fitting and not name.endswith("num_batches_tracked"))
    return LoadReport(tuple(fitting), unused, missing)
