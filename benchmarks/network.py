"""Time of the whole network for one clip of five 256 x 256 frames: ``python -m benchmarks.network [--size b3]``.

Compared in one run, interleaved: this network in float32 and bfloat16, the same weights in the plain arrangement the
paper describes (a loop over the scan's steps; mambapy's scan where it is installed), and SegFormer of the same size
from `transformers`, frame by frame and as a batch, where that is installed. All predict all five frames.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from vivim.device import native_bfloat16
from vivim.network import Vivim, VivimConfig

from benchmarks.plain import plain
from benchmarks.report import interleaved, machine, parser, set_threads, summary, write
from benchmarks.scan import mambapy_scan

FRAMES, SIDE = 5, 256
LOOP = "plain, loop over steps"


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
        with_mambapy = plain(model, mambapy_scan)
        found["plain, mambapy's scan"] = lambda: with_mambapy(clip)
    if with_loop:
        with_steps = plain(model)
        found[LOOP] = lambda: with_steps(clip)
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
        times = interleaved(runs, arguments.rounds, at_most={LOOP: 1, "plain, mambapy's scan": 2})
        exact = plain(model)(clip) if not arguments.no_loop else None
        error = None if exact is None else float((model(clip) - exact).abs().max() / exact.abs().max())
    rows = {name: summary(seconds) for name, seconds in times.items()}
    base = rows["vivim, float32"]["median_ms"]
    print(f"\n{arguments.size}, {FRAMES} frames of {SIDE} x {SIDE}")
    for name, row in rows.items():
        print(f"{name:28} {row['median_ms']:9.0f} ms {row['median_ms'] / base:7.2f} x")
    if error is not None:
        print(f"largest difference from the plain arrangement: {error:.0e} of the largest logit")
    report |= {"rows": rows, "relative_error": error}
    write(report, arguments.json)


if __name__ == "__main__":
    main()
