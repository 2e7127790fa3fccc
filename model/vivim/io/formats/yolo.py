"""YOLO segmentation: a text file for each picture, in each line a class and the corners of one outline."""

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vivim.errors import MasksError
from vivim.io.formats import shapes
from vivim.io.import_source import Found, ReadOptions, frames_of

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
"""Files that name the classes, in the folder of the texts or in one of two above."""
INNER = ("*.txt", "labels/*.txt", "labels/*/*.txt", "*/labels/*.txt")
"""Where the texts of a data set lie."""
BOX = (5, 6)
"""So many numbers are a box, the last of six how sure a model was."""
FEWEST = 7
OUTLINE = re.compile(r"\s*-?\d[\d.]*(\s+(nan|[-+.\deE]+)){4}")
"""How a line begins that may be an outline."""
FARTHEST = 2.0
"""Corners farther out are no fractions of the picture."""


def find_yolo(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found | None:
    """Masks of a text file or a folder of them; None if there is none in the folder.

    Class 0 of the file is class 1, and so on, by name where a file beside the texts names the classes.
    """
    files = [path] if path.is_file() else _texts(path)
    if not files:
        return None
    lines = [_lines(file) for file in files]
    boxes = sum(len(line) in BOX for one in lines for line in one)
    if boxes:
        raise shapes.only_boxes(boxes, sum(map(len, lines)))
    drawn = [
        [_shape(line, file.name, shape[1:]) for line in one] for file, one in zip(files, lines, strict=True)
    ]
    frames = frames_of([file.stem for file in files], shape[0], options)
    named = _names(files[0].parent)
    used = {entry.label for one in drawn for entry in one}
    # class 0 is class 1 in every file of a project, whichever are used
    ids = list(named) or [str(number) for number in range(max(map(int, used), default=0) + 1)]
    classes, _ = shapes.classes_of(used, ids)
    unique = len(set(named.values())) == len(named) > 0 and all(named.values())
    names = tuple(named.values()) if unique else None
    return shapes.found_shapes(dict(zip(frames, drawn, strict=True)), classes, names, shape, options)


def _texts(folder: Path) -> list[Path]:
    """The texts of a data set, if the first lines of some are numbers, or all are empty."""
    for pattern in INNER:
        files = [file for file in shapes.visible(folder.glob(pattern)) if file.name not in NAMES]
        heads = []
        for file in files:
            with file.open(encoding="utf-8-sig", errors="replace") as opened:
                heads.append(opened.readline(256))
        if any(OUTLINE.match(head) for head in heads) or (files and not any(map(str.strip, heads))):
            return files
    return []


def _lines(file: Path) -> list[list[float]]:
    shapes.check_length(file)
    lines = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError as error:
            raise MasksError(
                f"Line {number} of {file.name} holds more than numbers. Mend or remove it."
            ) from error
        if values:
            lines.append(values)
    return lines


def _shape(line: list[float], name: str, size: tuple[int, int]) -> shapes.Shape:
    """The class and the outline of one line. Raises `MasksError` if it is no class and pairs of fractions."""
    label, points = line[0], np.array(line[1:])
    if not label.is_integer() or not 0 <= label < 2**31 or len(line) < FEWEST or len(points) % 2:
        raise MasksError(
            f"A line of {name} is no class and three or more pairs of numbers. Export outlines, without how sure a "
            "model was."
        )
    if not (np.abs(points) <= FARTHEST).all():
        raise MasksError(
            f"{name} holds corners that are no fractions of the picture. Export them from 0 to 1."
        )
    return shapes.Shape(str(int(label)), partial(shapes.filled, points.reshape(-1, 2) * size[::-1], size))


def _names(folder: Path) -> dict[str, str]:
    """Name of each class by its number as text, in the order of the numbers; empty if no file says."""
    folder = folder.resolve()
    files = [place / name for place in (folder, *folder.parents[:2]) for name in NAMES]
    for file in filter(Path.is_file, files):
        shapes.check_length(file)
        text = file.read_text(encoding="utf-8-sig")
        names: Any = text.strip().splitlines()
        if file.suffix in (".yaml", ".yml"):
            # a loader that makes only texts, lists and mappings, and expands nothing
            content = yaml.load(text, yaml.BaseLoader)
            names = content.get("names", []) if isinstance(content, dict) else []
        listed = (
            names if isinstance(names, dict) else {str(number): name for number, name in enumerate(names)}
        )
        if not all(isinstance(name, str) for name in listed.values()):
            raise MasksError(f"{file.name} does not list the names of the classes. Mend or remove it.")
        if listed:
            return {str(int(key)): listed[key].strip() for key in sorted(listed, key=int)}
    return {}
