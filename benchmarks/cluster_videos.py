"""Make the videos that the cluster benchmarks work on, and read what came of them."""

from __future__ import annotations

import json
from pathlib import Path

from vivim.batch.jobs import Job, Outcome, Segmenting
from vivim.batch.run import run


def make_videos(folder: Path, count: int, frames: int, size: tuple[int, int]) -> None:
    from vivim.video import make_phantom, write_video

    folder.mkdir()
    for i in range(count):
        phantom = make_phantom(frames=frames, size=size, seed=i)
        write_video(folder / f"scan{i:03d}.mp4", phantom.frames, phantom.fps)


def jobs_of(videos: Path, out: Path, options: Segmenting) -> list[Job]:
    return [Job(str(path), path.stem, str(out), options) for path in sorted(videos.iterdir())]


def written(out: Path) -> dict[str, bytes]:
    """Every exported file, by its place."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and "session.vivim" not in path.parts)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files if path.parent != out}


def ended(jobs: list[Job], address: str | None = None) -> list[Outcome]:
    found = [event for event in run(jobs, address) if isinstance(event, Outcome)]
    assert all(outcome.status == "done" for outcome in found), found
    return found


def told(result: dict[str, object], path: Path | None) -> int:
    """Print a result, write it where asked to, and return the exit code: 1 where files differ that should not."""
    text = json.dumps(result, indent=1)
    print(text)
    if path is not None:
        path.write_text(text)
    return 0 if result.get("all_files_identical", True) else 1
