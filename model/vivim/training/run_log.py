"""Log of a training run: a CSV file, and TensorBoard's where that is installed."""

import csv
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vivim.training.validation import TrainEvent
from vivim.utils.atomic_files import atomic_write
from vivim.utils.csv_writer import CsvWriter

FILE = "log.csv"
NUMBERS = ("step", "seconds", "loss", "dice_alone", "dice_guided", "dice_prior", "validation_dice")


def log_row(event: TrainEvent) -> dict[str, Any]:
    """Turn an event into a flat row, with a column for each validation clip and nothing where nothing was measured."""
    values = asdict(event)
    row = {name: values[name] for name in NUMBERS}
    row |= {f"dice/{clip}": dice for clip, dice in (event.validation or {}).items()}
    return {
        name: "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
        for name, value in row.items()
    }


class RunLog:
    """``log.csv`` of a run, in which a resumed run replaces the rows of steps that it takes again."""

    def __init__(self, run: Path, clips: list[str]) -> None:
        self._path = run / FILE
        self._columns = [*NUMBERS, *(f"dice/{clip}" for clip in clips)]
        self._rows: list[dict[str, Any]] = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))
        self._board: Any = None
        self._run = run

    def add(self, event: TrainEvent) -> None:
        """Write one event, so that the file is whole at any time."""
        self._rows = [row for row in self._rows if int(row["step"]) < event.step]
        row = log_row(event)
        self._rows.append(row)
        with atomic_write(self._path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = CsvWriter(file)
            writer.writerow(self._columns)
            writer.writerows([row.get(name, "") for name in self._columns] for row in self._rows)
        self._show(event.step, row)

    def _show(self, step: int, row: dict[str, Any]) -> None:
        if self._board is None:
            self._board = _tensorboard(self._run / "tensorboard", step)
        if self._board:
            for name, value in row.items():
                if name != "step" and value != "":
                    self._board.add_scalar(name, value, step)
            self._board.flush()


def _tensorboard(folder: Path, step: int) -> Any:
    """TensorBoard's writer from `step` on, or False where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    return SummaryWriter(str(folder), purge_step=step)


def table_head() -> str:
    """Headings of `table_line`."""
    return "  step  seconds     loss   dice  guided (propagated)  chosen by  validation"


def table_line(event: TrainEvent) -> str:
    """One line of the live table, with a dash for what was not measured."""

    def shown(value: float | None, width: int = 6) -> str:
        return "-".rjust(width) if value is None or math.isnan(value) else f"{value:{width}.3f}"

    clips = " ".join(f"{name} {dice:.3f}" for name, dice in (event.validation or {}).items())
    return (
        f"{event.step:6d} {event.seconds:8.0f} {shown(event.loss, 8)} {shown(event.dice_alone)} "
        f"{shown(event.dice_guided, 7)} {shown(event.dice_prior, 9)}  {shown(event.validation_dice, 10)}  {clips}"
    ).rstrip()
