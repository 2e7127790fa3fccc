"""Peak memory of proposing on the largest pictures: ``python -m benchmarks.memory``.

Each case runs in a process of its own, whose peak is what `resource.getrusage` says. "base" has everything imported,
the model loaded and nothing done.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 4096, 8192
CASES = ("base", "local", "server")


def _local(frames: int) -> None:
    """Propose masks for a folder of pictures, into its session."""
    from vivim import Session, load_model, propose

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "frames"
        folder.mkdir()
        grey = np.tile(np.linspace(0, 255, WIDTH, dtype=np.uint8), (HEIGHT, 1))
        for t in range(frames):
            Image.fromarray(np.roll(grey, 99 * t, 1)).save(folder / f"{t:04d}.png", compress_level=1)
        with Session.open(folder) as session:
            assert len(list(propose(session, load_model(), device="cpu"))) == frames


def _server(frames: int) -> None:
    """Do one request of one window as a server does it, without the socket."""
    from vivim import load_model
    from vivim.api import propose
    from vivim.remote.protocol import WANTED, squeeze
    from vivim.remote.remote_session import RemoteSession

    model = load_model()
    size = model.config.input_size
    picture = squeeze(np.tile(np.linspace(0, 255, size[1], dtype=np.uint8)[:, None], (size[0], 1, 3)))
    flags = np.full(frames, WANTED, np.uint8)

    def ask(session: int, what: str, numbers: list[int]) -> list[bytes]:
        return [picture for _ in numbers]

    session = RemoteSession(0, (frames, HEIGHT, WIDTH), flags, "benchmark", size, ask)
    for _ in propose(session, model, frames=session.wanted, clip_length=frames, device="cpu"):
        assert session.latest is not None
        squeeze(session.latest[1])


def _measure(case: str, frames: int) -> None:
    from vivim import load_model

    load_model()
    {"base": lambda _: None, "local": _local, "server": _server}[case](frames)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    """Print MiB a case, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--frames", type=int, default=8)
    args = parser.parse_args()
    if args.case:
        _measure(args.case, args.frames)
        return
    found = {"frames": args.frames, "height": HEIGHT, "width": WIDTH}
    for case in CASES:
        command = [sys.executable, "-m", "benchmarks.memory", "--case", case, "--frames", str(args.frames)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{case}_peak_mib"] = int(run.stdout.split()[-1])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
