"""Programs that `kill` kills: each works for ever and says on stdout what it has been told is done.

``python tests/robustness/victims.py KIND SESSION OUT SEED``. A line ``try FRAMES STATUS DIGEST`` goes before each step
on frames that are known, ``try ? ? ?`` before others; a line ``done FRAME STATUS DIGEST`` for each of them follows once
the session has answered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from vivim.session import Session
from vivim.session.ledger import digest

FORMATS = ("png", "tiff", "mp4", "csv")


def say(*words: object) -> None:
    """One line, in one piece, at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def correct(folder: Path, out: Path, rng: np.random.Generator) -> None:
    """Everything that a person does to frames, and a model in between."""
    with Session.open(folder) as session:
        editor = session.editable()
        height, width = session.shape[1:]

        def step(
            frames: int | list[int], status: str, pixels: np.ndarray | None, do: Callable[[], object]
        ) -> None:
            frames = [frames] if isinstance(frames, int) else frames
            say("try", ",".join(map(str, frames)), status, "?" if pixels is None else digest(pixels))
            do()
            done = [f"done {t} {session.status(t)} {digest(editor[t])}" for t in frames]
            say("\n".join(done))

        while True:
            t, what = int(rng.integers(len(session))), rng.choice(list("ssssscaAxzvueurp"))
            y, x, label = rng.integers(height - 9), rng.integers(width - 9), int(rng.integers(1, 9))
            drawn = editor[t]
            drawn[y : y + 9, x : x + 9] = label
            if what == "s":
                step(t, "?", drawn, lambda t=t, m=drawn: editor.__setitem__(t, m))
            elif what == "c":
                step(t, "corrected", drawn, lambda t=t, m=drawn: session.correct(t, m))
            elif what == "a" and session.status(t) != "empty":
                step(t, "accepted", editor[t], lambda t=t: session.accept(t))
            elif what == "x":
                step(t, "corrected", np.zeros_like(drawn), lambda t=t: session.clear(t))
            elif what == "z":
                step(t, "empty", np.zeros_like(drawn), lambda t=t: session.reset(t))
            elif what == "p":
                step(t, "?", drawn, lambda t=t, m=drawn: session.propose(t, m, "v1", 0.5))
            elif what == "A" and t:
                step(list(range(t)), "?", None, lambda t=t: session.accept_frames(range(t)))
            elif what == "v":
                step(t, "?", None, lambda t=t: session.revert(t))
            elif what == "e":
                session.end_step()
            elif what in "ur":
                step(list(range(len(session))), "?", None, session.undo if what == "u" else session.redo)


def propose(folder: Path, out: Path, rng: np.random.Generator) -> None:
    """The real thing: a network, all frames, again and again."""
    from vivim.api import propose as run

    model = small_model()
    with Session.open(folder) as session:
        while True:
            say("try ? ? ?")
            for event in run(
                session, model, start=int(rng.integers(len(session))), clip_length=2, device="cpu"
            ):
                if event.written:
                    say("done", event.frame, "proposed", digest(session.masks[event.frame]))


def finetune(folder: Path, out: Path, rng: np.random.Generator) -> None:
    """Fine-tune into new versions, in turn here and in a process apart."""
    from vivim.api import finetune as run
    from vivim.finetuning.events import Finished

    model, apart = small_model(), bool(rng.integers(2))
    with Session.open(folder) as session:
        while True:
            for event in run([session], model, device="cpu", in_process=not apart):
                say("step", event.kind)
                if isinstance(event, Finished):
                    say("model", event.name, event.version)
            apart = not apart


def export(folder: Path, out: Path, rng: np.random.Generator) -> None:
    """Round after round, a square one pixel larger on every frame, in all formats."""
    from vivim.io.export import export as run

    with Session.open(folder) as session:
        for side in range(1, min(session.shape[1:])):
            mask = np.zeros(session.shape[1:], np.uint8)
            mask[:side, :side] = 1
            for t in range(len(session)):
                session.correct(t, mask)
            say("round", side)
            for event in run(session, out, rng.permutation(FORMATS).tolist()):
                if event.done == event.total:
                    say("file", event.format, side)


def small_model():
    """A network of the smallest size with random weights, the same each time."""
    import torch
    from vivim.network import Vivim, VivimConfig

    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", guided=True, input_size=(64, 64))).eval()
    model.name, model.version = "small", "0123456789ab"
    return model


KINDS = {"correct": correct, "propose": propose, "finetune": finetune, "export": export}


if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), np.random.default_rng(int(sys.argv[4])))
