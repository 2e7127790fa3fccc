"""What an annotator waits for, without a window: ``python -m benchmarks.annotator [--device cuda] [--frames 1000]``.

On a synthetic video of 256 x 256: a proposal for every frame with the starter, then 20 corrected frames, and the
time from the click on Fine-tune to the new version's mask of the frame on screen. With ``--rounds 2`` it learns again
after one more corrected frame, as a person would: frames encoded before are reused, kernels are compiled. The same
generators of events are used as in the window, with the model's files on disk as there. Before each click the work is
done that the window does while nobody clicks, to its end (`vivim.finetuning.precompute`); ``--hasty`` leaves no time
for that.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import vivim
from PIL import Image
from vivim.api import finetune
from vivim.devices import choose_device
from vivim.finetuning.events import Finished
from vivim.finetuning.precompute import precompute
from vivim.finetuning.warmup import warm_up
from vivim.finetuning.worker_process import Standby
from vivim.video.phantom import make_phantom

from benchmarks.report import machine, parser, set_threads, write

SIZE = (256, 256)
PHANTOM = 120
"""Frames made; longer videos repeat them back and forth."""


def write_video(folder: Path, frames: int) -> np.ndarray:
    """A folder of pictures of a phantom; returns its true masks ``(T, H, W)`` uint8."""
    phantom = make_phantom(frames=min(frames, PHANTOM), size=SIZE, seed=3)
    there_and_back = [*range(len(phantom.frames)), *range(len(phantom.frames) - 2, 0, -1)]
    at = [there_and_back[t % len(there_and_back)] for t in range(frames)]
    folder.mkdir()
    for t, source in enumerate(at):
        Image.fromarray(phantom.frames[source]).save(folder / f"{t:05}.png", compress_level=1)
    return phantom.masks[at]


def propose_all(session: vivim.Session, model: vivim.Vivim, device: str) -> dict[str, float]:
    """Seconds to the first mask and to the last."""
    began = time.perf_counter()
    moments = [time.perf_counter() - began for _ in vivim.propose(session, model, device=device)]
    return {
        "first_mask_s": moments[0],
        "propose_s": moments[-1],
        "frames_a_second": len(session) / moments[-1],
    }


def ahead(session: vivim.Session, model: vivim.Vivim, device: str, standby: Standby) -> dict[str, object]:
    """Seconds that working ahead takes, and what is left of a first mask by a click on Propose."""
    on_screen = session.frames_with("proposed")[0]
    began = time.perf_counter()
    if choose_device(device).type == "cpu":
        standby.start()
    for _ in precompute(session, model, start=on_screen, device=device):
        pass
    done = time.perf_counter()
    next(vivim.propose(session, model, start=on_screen, device=device))
    return {"ahead_s": done - began, "first_mask_corrected_s": time.perf_counter() - done}


def learn(
    session: vivim.Session, model: vivim.Vivim, device: str, scope: str, standby: Standby
) -> dict[str, object]:
    """Seconds from the click to the first step, the new version, its first mask where none is drawn, and its last."""
    on_screen = session.frames_with("proposed")[0]
    began, reached = time.perf_counter(), dict[str, float]()
    for event in finetune([session], model, device=device, scope=scope, standby=standby):
        reached.setdefault(event.kind, time.perf_counter() - began)
        last = event
    assert isinstance(last, Finished)
    tuned = vivim.load_model(last.name)
    proposals = vivim.propose(session, tuned, start=on_screen, device=device)
    next(proposals)
    renewed = time.perf_counter() - began
    for _ in proposals:
        pass
    return {
        "first_frame_encoded_s": reached.get("preparing"),
        "first_step_s": reached.get("step"),
        "finetune_s": reached["finished"],
        "click_to_renewed_mask_s": renewed,
        "click_to_every_mask_s": time.perf_counter() - began,
        "held_out_before": last.before,
        "held_out_after": last.after,
    }


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--device", default="auto")
    options.add_argument("--frames", type=int, default=1000)
    options.add_argument("--corrected", type=int, default=20)
    options.add_argument("--model", default="starter")
    options.add_argument("--scope", default="decoder")
    options.add_argument("--hasty", action="store_true", help="no time to work ahead")
    arguments = options.parse_args(argv)
    set_threads(arguments)
    device = choose_device(arguments.device)
    figures: dict[str, object] = {"frames": arguments.frames, "corrected": arguments.corrected}
    standby = Standby()
    with closing(standby), tempfile.TemporaryDirectory(prefix="vivim-annotator-") as place:
        os.environ["VIVIM_HOME"] = str(Path(place) / "models")
        masks = write_video(Path(place) / "frames", arguments.frames)
        model = vivim.load_model(arguments.model)
        with vivim.Session.open(Path(place) / "frames", folder=Path(place) / "session") as session:
            began = time.perf_counter()
            warm_up(model, device.type)  # as the window does on opening a video
            figures["warm_up_s"] = time.perf_counter() - began
            figures |= propose_all(session, model, device.type)
            for t in np.linspace(0, len(session) - 1, arguments.corrected).astype(int):
                session.correct(int(t), masks[t])
            for number in range(1, arguments.rounds + 1):
                if number > 1:
                    one_more = session.frames_with("proposed")[len(session) // 3]
                    session.correct(one_more, masks[one_more])
                found = {} if arguments.hasty else ahead(session, model, device.type, standby)
                found |= learn(session, model, device.type, arguments.scope, standby)
                figures |= {f"round {number}: {name}": value for name, value in found.items()}
    report = {"machine": machine(device.type), **figures}
    for name, value in report.items():
        print(f"{name:36} {value:.2f}" if isinstance(value, float) else f"{name:36} {value}")
    write(report, arguments.json)


if __name__ == "__main__":
    main()
