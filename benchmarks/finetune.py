"""How long from the click on "Fine-tune" to renewed masks on the frame on screen, on this machine's CPU.

``python -m benchmarks.finetune`` makes the ultrasound phantom of 60 frames of 256x256, corrects 20 of them with the
true masks, fine-tunes the starter in a process of its own, proposes anew from frame 31, and prints one line of JSON.
``--rounds 2`` does it again with one more corrected frame, as a person would: frames encoded before are reused.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import vivim
from vivim.finetune import Finished, Step
from vivim.video import make_phantom, write_video

FRAMES, SIZE, CORRECTED, SHOWN = 60, 256, 20, 31


def one_round(session: vivim.Session, model: vivim.Vivim, scope: str) -> dict[str, float | int | None]:
    """Fine-tune and propose until the frame on screen is renewed."""
    began = time.perf_counter()
    encoded, finished = 0.0, None
    for event in vivim.finetune([session], model, scope=scope, device="cpu", name="benchmark"):
        if isinstance(event, Step) and not encoded:
            encoded = time.perf_counter() - began
        finished = event if isinstance(event, Finished) else finished
    assert finished is not None
    tuned = vivim.load_model(finished.name)
    for event in vivim.propose(session, tuned, start=SHOWN, device="cpu"):
        if event.frame == SHOWN:
            break
    return {
        "corrected": len(session.frames_with("corrected", "accepted")),
        "to_first_step_s": round(encoded, 1),
        "finetune_s": round(finished.seconds, 1),
        "click_to_renewed_frame_s": round(time.perf_counter() - began, 1),
        "before": finished.before,
        "after": finished.after,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scope", default="decoder")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    model, sample = vivim.load_model("starter"), make_phantom(FRAMES, size=(SIZE, SIZE))
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "phantom.mp4", sample.frames, 20.0)
        with vivim.Session.open(video) as session:
            for t in np.linspace(0, FRAMES - 1, CORRECTED).astype(int):
                session.correct(int(t), sample.masks[t])
            rows = []
            for number in range(args.rounds):
                if number:
                    session.correct(SHOWN + number + 1, sample.masks[SHOWN + number + 1])
                rows.append(one_round(session, model, args.scope))
    print(json.dumps({"scope": args.scope, "rounds": rows}))


if __name__ == "__main__":
    main()
