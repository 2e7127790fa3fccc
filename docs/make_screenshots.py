"""Make the pictures of the window for the documentation, from the synthetic ultrasound video alone.

``python docs/make_screenshots.py`` writes ``window.png``, ``finetune.png``, ``frame.png`` and the animated
``loop.webp`` into ``docs/images``. ``python docs/make_screenshots.py loop`` makes the animation alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import napari
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from vivim import dice, make_phantom, write_video

from napari_vivim.timeline.timeline_widget import show_timeline

IMAGES = Path(__file__).parent / "images"
FILM_WIDTH = 900
CAPTION_HEIGHT = 44


def wait(done: Callable[[], bool], limit: float = 600.0) -> None:
    """Turn the event loop until `done`."""
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not done after {limit:.0f} s")
        QApplication.instance().processEvents()
        time.sleep(0.01)


def rest(seconds: float = 0.5) -> None:
    """Let the window come to rest."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def picture(viewer: napari.Viewer, name: str) -> None:
    """Save the window as it is, once it has come to rest."""
    rest()
    viewer.window.screenshot(str(IMAGES / name), flash=False, canvas_only=False)


def card(viewer: napari.Viewer, frame: int, name: str) -> None:
    """Save what the timeline says of a frame."""
    timeline = show_timeline(viewer)
    timeline.view.under_mouse = frame
    timeline._hover(frame)
    wait(lambda: not timeline.card.picture.pixmap().isNull())
    timeline.card.grab().save(str(IMAGES / name))
    timeline._hover(-1)


class Film:
    """An animated picture of the window, with a caption below."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.shots: list[Image.Image] = []
        self.durations: list[int] = []

    def shoot(self, caption: str, milliseconds: int, seconds: float = 0.3) -> None:
        """Add the window as it is."""
        rest(seconds)
        shot = Image.fromarray(self.viewer.window.screenshot(flash=False, canvas_only=False)).convert("RGB")
        shot = shot.resize(
            (FILM_WIDTH, round(FILM_WIDTH * shot.height / shot.width)), Image.Resampling.LANCZOS
        )
        sheet = Image.new("RGB", (shot.width, shot.height + CAPTION_HEIGHT), "#102a2a")
        sheet.paste(shot)
        ImageDraw.Draw(sheet).text(
            (16, shot.height + 9), caption, fill="white", font=ImageFont.load_default(size=21)
        )
        self.shots.append(sheet)
        self.durations.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write it as WebP, which plays for ever."""
        first, *others = self.shots
        first.save(
            path, save_all=True, append_images=others, duration=self.durations, loop=0, quality=60, method=6
        )


def opened(viewer: napari.Viewer, open_video: Callable[[], object]) -> Any:
    """Open the dock and a video, and return the dock when both are ready."""
    viewer.window._qt_window.resize(1280, 800)
    _, segment = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    open_video()
    wait(lambda: segment.controller is not None and segment.controller.session is not None)
    wait(lambda: segment.device.count() > 1 and segment.learning.model.count() > 0)
    return segment


def click(segment: Any, place: tuple[float, float], button: int = 1) -> None:
    """Click with the prompt tool at a row and column of the picture, and wait for the outline."""
    tool, masks = segment.controller.prompting, segment.controller.masks
    event = SimpleNamespace(
        type="mouse_press", button=button, modifiers=(), camera_zoom=4.0, handled=False,
        position=masks.data_to_world((segment.controller.current_frame, *place)),
    )  # fmt: skip
    steps = tool._on_mouse(segment.viewer, event)
    next(steps)
    event.type = "mouse_release"
    for _ in steps:
        pass
    wait(lambda: not tool._jobs)


def worst_place(mask: NDArray, truth: NDArray) -> tuple[tuple[float, float], bool]:
    """Row and column deepest inside the wrong pixels of a mask, and whether lesion is missing there."""
    depth = ndimage.distance_transform_edt(np.pad(mask != truth, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(row), float(column)), bool(truth[row, column])


def hard_case(folder: Path) -> tuple[Path, NDArray]:
    """Write a phantom with a bright lesion instead of a dark one, which the starter has never seen, and its masks."""
    phantom = make_phantom(frames=60, seed=2)
    frames = phantom.frames.astype(np.float32)
    shading = ndimage.gaussian_filter(frames, (0, 12, 12))
    bright = np.clip(frames - 1.6 * (shading - shading.mean()), 0, 255).astype(np.uint8)
    return write_video(folder / "bright-lesion.mp4", bright, phantom.fps), phantom.masks > 0


def loop(folder: Path) -> None:
    """Propose, click, learn: the animated picture of README.md."""
    path, truth = hard_case(folder)
    viewer = napari.Viewer()
    film = Film(viewer)
    segment = opened(viewer, lambda: viewer.open(str(path), plugin="napari-vivim"))
    controller, session = segment.controller, segment.controller.session

    def finish(caption: str = "", seconds: float = 1.5) -> None:
        while controller.busy or controller.prompting._jobs:
            film.shoot(caption, 450, seconds) if caption else rest(0.1)

    def score() -> float:
        proposed = session.frames_with("proposed")
        return float(np.mean([dice(session.shown(t) > 0, truth[t]) for t in proposed]))

    controller.go_to(30)
    film.shoot("1. Open a video: here a synthetic lesion of a kind that the model has never seen", 2000, 1.0)
    segment.propose.click()
    finish()
    before = score()
    for frame in range(6, 56, 8):
        controller.go_to(frame)
        film.shoot("2. Propose masks: on this kind of lesion they are rough", 450)
    controller.editing.next()
    frame = controller.current_frame
    film.shoot("3. Next to correct goes to the frame that helps most", 1500)
    controller.prompting.start()
    mask = session.shown(frame) > 0
    for number in range(1, 7):
        place, missed = worst_place(mask, truth[frame])
        click(segment, place, button=1 if missed else 2)
        mask = controller.prompting.prompted.mask
        said = "Click the lesion" if missed else "Right-click what is not lesion"
        film.shoot(f"4. {said}: the outline follows ({number})", 1300)
        if dice(mask, truth[frame]) > 0.9:
            break
    controller.prompting.take()
    finish()
    controller.prompting.stop()
    film.shoot("5. Enter takes it. The frames around it follow, and no model changes this one", 1800)
    for _ in range(3):
        controller.editing.next()
        session.correct(controller.current_frame, truth[controller.current_frame])
        film.shoot("6. Correct three more frames", 900)
    segment.learn.expand()
    segment.learning.learn.click()
    finish("7. Learn: the loss, and the score on held-out frames", 5.0)
    used = segment.learning.model.currentText() != "starter"
    judged = "better, so it is used" if used else "no clear improvement, so the old model stays"
    film.shoot(f"8. On held-out frames: {judged}", 2500, 1.0)
    caption = f"9. The masks that nobody corrected: Dice {score():.2f} instead of {before:.2f}"
    for frame in range(6, 56, 8):
        controller.go_to(frame)
        film.shoot(caption, 450)
    film.shoot(caption, 2500)
    film.save(IMAGES / "loop.webp")
    viewer.close()


def main() -> None:
    """Propose, correct five frames, propose again, fine-tune."""
    IMAGES.mkdir(exist_ok=True)
    viewer = napari.Viewer()
    segment = opened(viewer, lambda: viewer.open_sample("napari-vivim", "ultrasound_phantom"))
    truth = next(np.asarray(layer.data) for layer in viewer.layers if "truth" in layer.name)
    segment.controller.go_to(30)
    segment.propose.click()
    wait(lambda: not segment.controller.busy)
    for t in (5, 20, 30, 44, 56):
        segment.controller.session.correct(t, truth[t])
    segment.controller.session.accept(36)
    segment.propose.click()
    wait(lambda: not segment.controller.busy)
    segment.controller.go_to(26)
    picture(viewer, "window.png")
    card(viewer, 26, "frame.png")
    segment.learn.expand()
    segment.learning.learn.click()
    wait(lambda: not segment.controller.busy)
    picture(viewer, "finetune.png")
    viewer.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["loop"]:
        main()
    with tempfile.TemporaryDirectory() as folder:
        loop(Path(folder))
