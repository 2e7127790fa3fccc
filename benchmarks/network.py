"""Time of the whole network for one clip of five 256 x 256 frames: ``python -m benchmarks.network [--size b3]``.

Compared in one run, interleaved: this network in float32 and bfloat16, the same weights in the form of the paper
(`vivim.network.paper`, whose scan is a loop over tokens, and mambapy's scan where it is installed), and SegFormer of
the same size from `transformers`, frame by frame and as a batch, where that is installed. All predict all five frames.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from vivim.devices import native_bfloat16
from vivim.network import Vivim, VivimConfig, paper

from benchmarks.report import interleaved, machine, parser, set_threads, summary, write
from benchmarks.scan import Scan, mambapy_scan

FRAMES, SIDE = 5, 256
LOOP = "paper's form, loop"
MAMBAPY = "paper's form, mambapy's scan"


def paper_form(model: Vivim, scan: Scan | None = None) -> paper.Vivim:
    """The weights of a network in the form of the paper, its scans computed by `scan` where one is given."""
    form = paper.Vivim(model.config).to(next(model.parameters()).device).eval()
    form.load_state_dict(model.state_dict())
    for module in form.modules():
        if scan is not None and isinstance(module, paper.ScanBranch):
            module.forward = partial(branch_with, scan, module)
    return form


def branch_with(scan: Scan, branch: paper.ScanBranch, u: Tensor, z: Tensor) -> Tensor:
    """`paper.ScanBranch.forward` with another scan, which computes the softplus of the step size and the gate too."""
    length, rank, states = u.shape[1], branch.dt_proj.in_features, branch.A_log.shape[1]
    u = torch.nn.functional.silu(branch.conv(u.transpose(1, 2))[..., :length]).transpose(1, 2).contiguous()
    delta, b, c = branch.x_proj(u).split([rank, states, states], dim=-1)
    delta = torch.nn.functional.linear(delta, branch.dt_proj.weight)
    return scan(u, delta, -torch.exp(branch.A_log), b, c, branch.D, z, branch.dt_proj.bias)


def segformer(model: Vivim) -> torch.nn.Module:
    """SegFormer with random weights and the widths and depths of a network of this project."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    preset = model.config.preset
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            depths=list(preset.depths),
            hidden_sizes=list(preset.widths),
            decoder_hidden_size=preset.decoder_width,
            num_labels=1,
        )
    ).eval()


def implementations(model: Vivim, clip: torch.Tensor, with_loop: bool) -> dict[str, Callable[[], object]]:
    """What is compared, by the name shown; each call predicts the whole clip."""
    found: dict[str, Callable[[], object]] = {"vivim, float32": lambda: model(clip)}
    if native_bfloat16(clip.device):

        def in_bfloat16() -> object:
            with torch.autocast(clip.device.type, dtype=torch.bfloat16):
                return model(clip)

        found["vivim, bfloat16"] = in_bfloat16
    if importlib.util.find_spec("transformers"):
        frames, peer = clip[0], segformer(model)
        found["SegFormer, frame by frame"] = lambda: [peer(frames[t : t + 1]) for t in range(len(frames))]
        found["SegFormer, one batch"] = lambda: peer(frames)
    if importlib.util.find_spec("mambapy"):
        with_mambapy = paper_form(model, mambapy_scan)
        found[MAMBAPY] = lambda: with_mambapy(clip)
    if with_loop:
        with_loop_scan = paper_form(model)
        found[LOOP] = lambda: with_loop_scan(clip)
    return found


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=5)
    options.add_argument("--size", default="b3", help="b0 to b5")
    options.add_argument("--no-loop", action="store_true", help="leave out the loop, which takes long")
    arguments = options.parse_args(argv)
    set_threads(arguments)
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size=arguments.size)).eval()
    clip = torch.randn(1, FRAMES, 3, SIDE, SIDE)
    report: dict[str, object] = {"machine": machine(), "size": arguments.size, "frames": FRAMES, "side": SIDE}
    print(report["machine"])
    with torch.inference_mode():
        runs = implementations(model, clip, not arguments.no_loop)
        times = interleaved(runs, arguments.rounds, at_most={LOOP: 1, MAMBAPY: 2})
        exact = paper_form(model)(clip) if not arguments.no_loop else None
        error = None if exact is None else float((model(clip) - exact).abs().max() / exact.abs().max())
    rows = {name: summary(seconds) for name, seconds in times.items()}
    base = rows["vivim, float32"]["median_ms"]
    print(f"\n{arguments.size}, {FRAMES} frames of {SIDE} x {SIDE}")
    for name, row in rows.items():
        print(f"{name:28} {row['median_ms']:9.0f} ms {row['median_ms'] / base:7.2f} x")
    if error is not None:
        print(f"largest difference from the form of the paper: {error:.0e} of the largest logit")
    report |= {"rows": rows, "relative_error": error}
    write(report, arguments.json)


if __name__ == "__main__":
    main()
