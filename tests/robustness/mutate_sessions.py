"""Open sessions, checkpoints and masks to import that were damaged or forged in a thousand ways.

``python tests/robustness/mutate_sessions.py --count 1000``; with ``--imports`` masks to import instead of the other
two. Every copy is either used as if nothing were wrong, where what was changed does not matter, or refused with one of
our own errors: never a crash, never longer than ten seconds, never more than 2 GB of memory. Prints counts, and exits
with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import ANY, OF_MODELS, OF_SESSIONS, TEXT
from vivim.errors import VivimError
from vivim.io.export import export
from vivim.io.import_masks import import_masks
from vivim.session import Session
from vivim.video import make_phantom, write_video

FRAMES, SIZE = 8, (48, 64)
SECONDS, BYTES = 10.0, 2 * 10**9


# -- the originals and what is done with a copy -------------------------------------------------------------------


class Originals:
    """A whole session, its masks exported, a model of ours and one of the reference's kind; copies get damaged."""

    def __init__(self, root: Path) -> None:
        import torch
        from victims import small_model
        from vivim.network.checkpoints import save_checkpoint

        self.root = root
        phantom = make_phantom(FRAMES, size=SIZE)
        video = write_video(root / "video.mp4", phantom.frames, 20.0)
        with Session.open(video, author="somebody") as session:
            for t in range(FRAMES):
                session.propose(t, phantom.masks[t], "v1", uncertainty=0.5)
            for t in (1, 4, 6):
                session.correct(t, phantom.masks[t - 1])
            session.accept(2)
            self.masks = root / "masks"
            for _ in export(session, self.masks, ("png", "tiff", "nifti", "coco")):
                pass
        self.session = session.folder
        model = small_model()
        self.own = root / "own.safetensors"
        save_checkpoint(model, self.own, {"version": "0"}, dtype=torch.float16)
        self.reference = root / "reference.ckpt"
        torch.save(reference_names(model), self.reference)
        for path in (self.own, self.reference):
            use_model(path)


_REFERENCE_NAMES = (
    (r"^encoder\.(patch_embeddings|layer_norm)\.", r"encoder.downsample_layers.\1."),
    (r"(patch_embeddings\.\d)\.norm\.", r"\1.layer_norm."),
    (r"^encoder\.mit\.(\d)\.", r"encoder.downsample_layers.block.\1."),
    (r"(block\.\d\.\d+)\.norm(\d)\.", r"\1.layer_norm_\2."),
    (r"\.attention\.reduce_norm\.", ".attention.self.layer_norm."),
    (r"\.attention\.reduce\.", ".attention.self.sr."),
    (r"\.attention\.output\.", ".attention.output.dense."),
    (r"\.attention\.(query|key|value)\.", r".attention.self.\1."),
    (r"\.mlp\.fc(\d)\.", r".mlp.dense\1."),
    (r"\.depthwise\.", ".dwconv.dwconv."),
    (r"^encoder\.temporal\.(\d)\.(\d)\.", r"encoder.stages.\1.\2.0."),
    *(
        rule
        for branch, suffix in (("backward", "_b"), ("temporal", "_s"), ("onward", ""))
        for rule in (
            (rf"\.branches\.{branch}\.A_log$", f".A{suffix}_log"),
            (rf"\.branches\.{branch}\.D$", f".D{suffix}"),
            (rf"\.branches\.{branch}\.conv\.", f".conv1d{suffix}."),
            (rf"\.branches\.{branch}\.(x_proj|dt_proj)\.", rf".\1{suffix}."),
        )
    ),
    (r"^decoder\.linears\.(\d)\.", r"decoder.linear_c.\1.proj."),
    (r"^decoder\.fuse\.", "decoder.linear_fuse."),
    (r"^decoder\.norm\.", "decoder.batch_norm."),
    (r"^decoder\.classify\.", "out."),
)


def reference_names(model: Any) -> dict[str, Any]:
    """A model's weights under the names that the reference implementation gives them."""
    state = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in _REFERENCE_NAMES:
            name = re.sub(pattern, replacement, name)
        state[name] = value
    return state


def use_session(folder: Path) -> None:
    """All that a person would do with it."""
    with Session.open(folder) as session:
        for t in range(min(len(session), 50)):
            try:
                _ = session.masks[t]
            except VivimError:
                session.correct(t, np.zeros(session.shape[1:], np.uint8))
        _ = session.statuses, session.uncertainty, list(session.entries()), session.verify()
        for t in (1, 2, 4, 6):
            session.undo()
            session.revert(t)
        session.correct(0, np.ones(session.shape[1:], np.uint8))
        assert session.video.frame(0) is not None


def use_masks(path: Path) -> None:
    """Import them into a session of their own."""
    with Session.open(path.parents[1] / "video.mp4") as session:
        for _ in import_masks(session, path):
            pass


def use_model(path: Path) -> None:
    import vivim
    from vivim.registry.registry import model_info

    if path.suffix == ".safetensors":
        model_info(path)
    vivim.load_model(path)


def one_import(originals: Originals, number: int, seed: int) -> tuple[str, str]:
    """Damage one copy of exported masks and import it; returns what it was and how it went."""
    rng = random.Random(f"{seed}-{number}")
    with tempfile.TemporaryDirectory(dir=originals.root) as name:
        shutil.copy(originals.root / "video.mp4", name)
        masks = Path(shutil.copytree(originals.masks, Path(name) / "masks"))
        path = rng.choice(sorted(masks.iterdir()))
        mutation = rng.choice((*ANY, *TEXT) if path.suffix == ".json" else ANY)
        mutation(rng.choice(sorted(path.iterdir())) if path.is_dir() else path, rng)
        return f"{path.name}, {mutation.__name__}", outcome(use_masks, path)


def one(originals: Originals, number: int, seed: int) -> tuple[str, str]:
    """Damage one copy of a session or a model and use it; returns what it was and how it went."""
    rng = random.Random(f"{seed}-{number}")
    with tempfile.TemporaryDirectory(dir=originals.root) as name:
        place = Path(name)
        if number % 2 == 0:
            folder = place / "video.mp4.vivim"
            shutil.copytree(originals.session, folder)
            shutil.copy(originals.root / "video.mp4", place)
            where = rng.choice(list(OF_SESSIONS))
            mutation = rng.choice(OF_SESSIONS[where])
            file = folder / where
            mutation(rng.choice(sorted(file.iterdir())) if file.is_dir() else file, rng)
            return f"{where}, {mutation.__name__}", outcome(use_session, folder)
        path = Path(shutil.copy(rng.choice((originals.own, originals.reference)), place))
        mutation = rng.choice(OF_MODELS[path.suffix])
        mutation(path, rng)
        how = outcome(use_model, path)
        assert not (place / "EVIL").exists(), "reading a model ran its code"
        return f"model {path.suffix}, {mutation.__name__}", how


def outcome(use: Callable[[Path], None], path: Path) -> str:
    """``"refused"``, ``"used"``, or what went wrong."""
    began = time.monotonic()
    try:
        use(path)
        how = "used"
    except VivimError as error:
        how = "refused" if str(error).strip() else "WRONG: an error without words"
    except Exception as error:
        how = f"WRONG: {type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    return how if seconds < SECONDS else f"WRONG: took {seconds:.0f} s"


Damage = Callable[[Originals, int, int], tuple[str, str]]


def work(originals: Originals, damage: Damage, numbers: range, seed: int, out: Any) -> None:
    """In a process of its own: what crashes it, or eats its memory, is then known by its number."""
    warnings.simplefilter("ignore")
    for number in numbers:
        out.send((number, "started", "", 0))
        what, how = damage(originals, number, seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        out.send((number, what, how, peak))
    out.send((-1, "", "", 0))


def run(count: int, seed: int, damage: Damage, report: Callable[[str], None]) -> dict[str, Any]:
    """Try `count` copies; returns counts by outcome, the most memory, and what went wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    peak, number, slowest = 0, 0, 0.0
    with tempfile.TemporaryDirectory(prefix="vivim-mutate") as name:
        originals = Originals(Path(name))
        while number < count:
            ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(originals, damage, range(number, count), seed, theirs)
            )
            process.start()
            theirs.close()
            began = time.monotonic()
            while True:
                if not ours.poll(6 * SECONDS):  # damaging takes a while too
                    wrong.append(f"{number}: WRONG: no answer for {6 * SECONDS:.0f} s")
                    break
                try:
                    at, what, how, memory = ours.recv()
                except EOFError:
                    wrong.append(f"{number}: WRONG: the process died")
                    break
                if at < 0:
                    number = count
                    break
                if what == "started":
                    number, began = at, time.monotonic()
                    continue
                slowest = max(slowest, time.monotonic() - began)
                counts[how.partition(":")[0]] += 1
                peak = max(peak, memory)
                if how.startswith("WRONG"):
                    wrong.append(f"{at}: {what}: {how}")
                    report(wrong[-1])
            process.kill()
            process.join()
            number += number < count
    if peak > BYTES:
        wrong.append(f"WRONG: {peak / 1e9:.1f} GB of memory")
    return {
        "count": count,
        **counts,
        "peak_mb": round(peak / 1e6),
        "slowest_s": round(slowest, 2),
        "wrong": wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--imports", action="store_true", help="masks to import instead of sessions and models"
    )
    args = parser.parse_args()
    damage = one_import if args.imports else one
    result = run(args.count, args.seed, damage, lambda line: print(line, flush=True))
    print(json.dumps(result))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
