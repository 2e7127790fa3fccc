"""Look for races in the scan's kernels with compute-sanitizer: ``python -m benchmarks.gpu_races``.

Fails on every race reported but one kind: one instruction writing against itself. Triton passes the sums over channels
through shared memory, where every thread of the warp writes its own copy to the same place; the copies come out of
butterfly shuffles and are the same to the bit, so it does not matter whose stays. A write against a read, or against
another instruction's write, would matter.
"""

from __future__ import annotations

import re
import subprocess
import sys

_ACCESS = re.compile(r"(Read|Write) access at (\S+)")
_SUMMARY = "RACECHECK SUMMARY"


class RaceReportError(ValueError):
    """The report is not one of a run that came to its end."""


def races_in(report: str) -> tuple[int, list[str]]:
    """Count the copies of one sum in a report of racecheck, and list the races that matter.

    Raises
    ------
    RaceReportError
        It has no summary, or its accesses are not in pairs.
    """
    accesses = _ACCESS.findall(report)
    if _SUMMARY not in report or len(accesses) % 2:
        raise RaceReportError("No whole report of racecheck: see what compute-sanitizer printed.")
    pairs = list(zip(accesses[::2], accesses[1::2], strict=True))
    real = [
        f"{first} at {here} against {second} at {there}"
        for (first, here), (second, there) in pairs
        if not (first == second == "Write" and here == there)
    ]
    return len(pairs) - len(real), real


def main() -> None:
    command = ["compute-sanitizer", "--tool", "racecheck", "--print-limit", "10000"]
    found = subprocess.run(
        [*command, sys.executable, "-m", "benchmarks.gpu_memcheck"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        copies, real = races_in(found.stdout)
    except RaceReportError as error:
        raise SystemExit(f"{found.stdout}{found.stderr}{error}") from error
    print(f"{copies} instructions write copies of one sum; {len(real)} races")
    if real:
        raise SystemExit("\n".join(real))


if __name__ == "__main__":
    main()
