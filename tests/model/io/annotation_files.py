"""Annotation files as other tools write them, of three frames of a small video, and what they mean."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.draw import polygon2mask

SIZE = (72, 88)
FRAMES = (2, 5, 9)
"""Frames that are annotated: with a polygon of the first class, with a mask of the second, with both."""
CORNERS = [(10.2, 8.7), (40.9, 12.1), (33.4, 51.6), (14.9, 44.2)]
LABELS = ("adenoma", "polyp")
TOP, LEFT = 20, 50


def outline(points: list[tuple[float, float]] = CORNERS) -> np.ndarray:
    """Pixels whose middle lies inside, by scikit-image, which puts pixel 0's middle at 0 and rows first."""
    return polygon2mask(SIZE, np.array(points)[:, ::-1] - 0.5)


def bitmap() -> np.ndarray:
    """A small mask with a hole."""
    small = np.ones((15, 21), bool)
    small[4:9, 5:11] = False
    small[0, :3] = False
    return small


def expected(both: tuple[str, ...] = ("polygon", "mask")) -> dict[int, np.ndarray]:
    """Masks of `FRAMES`; formats without bitmaps have the polygon, moved, for the second class."""
    first = outline().astype(np.uint8)
    second = np.zeros(SIZE, np.uint8)
    if "mask" in both:
        second[TOP : TOP + 15, LEFT : LEFT + 21] = bitmap() * 2
    else:
        second[outline(moved())] = 2
    return {FRAMES[0]: first, FRAMES[1]: second, FRAMES[2]: np.where(second > 0, second, first)}


def moved() -> list[tuple[float, float]]:
    return [(x + 38, y + 12) for x, y in CORNERS]


def png(mask: np.ndarray) -> str:
    packed = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(packed, "PNG")
    return base64.b64encode(packed.getvalue()).decode()


def labelme_shapes(t: int) -> list[dict[str, Any]]:
    height, width = bitmap().shape
    first = {
        "label": LABELS[0],
        "points": [list(p) for p in CORNERS],
        "shape_type": "polygon",
        "group_id": None,
    }
    second = {
        "label": LABELS[1],
        "points": [[LEFT, TOP], [LEFT + width - 1, TOP + height - 1]],
        "shape_type": "mask",
        "mask": png(bitmap()),
    }
    return {FRAMES[0]: [first], FRAMES[1]: [second], FRAMES[2]: [first, second]}.get(t, [])


def labelme_file(path: Path, t: int, shapes: list[dict[str, Any]], **parts: Any) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\img\\frame_{t:04d}.png"}
    content |= {"imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1], **parts}
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "absent"}))
    return path


def write_labelme(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for t in (*FRAMES, 7):  # nobody has drawn on frame 7
        labelme_file(folder / f"frame_{t:04d}.json", t, labelme_shapes(t))
        Image.new("RGB", SIZE[::-1]).save(folder / f"frame_{t:04d}.png")  # the picture lies beside, as always
    return folder


def cvat_runs(mask: np.ndarray) -> str:
    """Runs along the rows, background first."""
    flat = mask.ravel().astype(int)
    runs, value, length = [], 0, 0
    for pixel in flat:
        if pixel == value:
            length += 1
        else:
            runs.append(length)
            value, length = pixel, 1
    return ", ".join(map(str, [*runs, length]))


def cvat_polygon(more: str = "", points: list[tuple[float, float]] = CORNERS) -> str:
    return (
        f'<polygon {more} points="{";".join(f"{x:.2f},{y:.2f}" for x, y in points)}" z_order="0"></polygon>'
    )


def cvat_mask(more: str = "") -> str:
    height, width = bitmap().shape
    return (
        f'<mask {more} rle="{cvat_runs(bitmap())}" left="{LEFT}" top="{TOP}" width="{width}" height="{height}" '
        'z_order="1"><attribute name="size">3</attribute></mask>'
    )


def cvat_document(body: str, labels: tuple[str, ...] = LABELS) -> str:
    listed = "".join(f"<label><name>{name}</name><attributes></attributes></label>" for name in labels)
    size = f"<original_size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></original_size>"
    meta = f"<meta><task><size>12</size><labels>{listed}</labels>{size}</task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{body}</annotations>'


def write_cvat_video(path: Path) -> Path:
    first, second = [], []
    for t in range(12):
        said = f'frame="{t}" occluded="0" keyframe="{int(t % 5 == 2)}"'
        first.append(cvat_polygon(f'{said} outside="{int(t not in (FRAMES[0], FRAMES[2]))}"'))
        second.append(cvat_mask(f'{said} outside="{int(t not in FRAMES[1:])}"'))
    first.append(cvat_polygon('frame="12" outside="1" keyframe="1"'))  # one past the end
    body = f'<track id="0" label="{LABELS[0]}">{"".join(first)}</track>'
    path.write_text(cvat_document(body + f'<track id="1" label="{LABELS[1]}">{"".join(second)}</track>'))
    return path


def write_cvat_images(path: Path) -> Path:
    body = ""
    for t in range(12):
        shapes = cvat_mask(f'label="{LABELS[1]}"') if t in FRAMES[1:] else ""
        shapes += cvat_polygon(f'label="{LABELS[0]}"') if t in (FRAMES[0], FRAMES[2]) else ""
        body += (
            f'<image id="{t}" name="frame_{t:06d}.PNG" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image>'
        )
    path.write_text(cvat_document(body))
    return path


def yolo_line(number: int | str, points: list[tuple[float, float]]) -> str:
    return " ".join([str(number), *(f"{x / SIZE[1]:.8f} {y / SIZE[0]:.8f}" for x, y in points)])


def write_yolo(folder: Path, names: str = "names: [adenoma, polyp]\nnc: 2\n") -> Path:
    labels = folder / "train" / "labels"
    labels.mkdir(parents=True)
    (folder / "data.yaml").write_text(names)
    (folder / "README.roboflow.txt").write_text("This data set was exported.\n")
    first, second = yolo_line(0, CORNERS), yolo_line(1, moved())
    for t, text in zip((*FRAMES, 7), (first, second, f"{first}\n{second}\n", ""), strict=True):
        (labels / f"v_mp4-{t:04d}_jpg.rf.{t:032x}.txt").write_text(text)
    return folder


def write_segmentation(path: Path, layers: bool = False, **header: Any) -> Path:
    """As 3D Slicer writes it, shared in one layer or a layer for each segment."""
    import nrrd

    masks = expected()
    stack = np.zeros((12, *SIZE), np.uint8)
    for t, mask in masks.items():
        stack[t] = mask
    values = np.stack([(stack == n).T for n in (1, 2)]).astype(np.uint8) if layers else stack.T * np.uint8(3)
    said: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([np.full((1, 3), np.nan), np.eye(3)]) if layers else np.eye(3),
        "space origin": [0, 0, 0],
        "kinds": [*["list"] * layers, "domain", "domain", "domain"],
        "encoding": "gzip",
    }
    for n, name in enumerate(LABELS):
        said |= {
            f"Segment{n}_ID": f"Segment_{n}",
            f"Segment{n}_Name": name,
            f"Segment{n}_Extent": "0 87 0 71 0 11",
        }
        said |= {
            f"Segment{n}_Layer": str(n * layers),
            f"Segment{n}_LabelValue": str(1 if layers else 3 * (n + 1)),
        }
    said |= {"Segmentation_MasterRepresentation": "Binary labelmap", **header}
    said = {key: value for key, value in said.items() if value is not None}
    nrrd.write(str(path), values, said)
    return path


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "labelme": ("in", write_labelme),
    "cvat video": ("annotations.xml", write_cvat_video),
    "cvat images": ("annotations.xml", write_cvat_images),
    "yolo": ("in", write_yolo),
    "seg.nrrd": ("in.seg.nrrd", write_segmentation),
    "seg.nrrd in layers": ("in.seg.nrrd", lambda path: write_segmentation(path, layers=True)),
}
"""What each is called, and how it is written."""
