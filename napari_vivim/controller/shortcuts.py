"""All edits of masks by a key or a button.

`SHORTCUTS` binds the keys, labels the buttons, and makes the table that the window shows for "?" and that the
documentation holds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import napari
from vivim.imaging import morphology

from napari_vivim.controller.mask_editing import MaskEditing
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.notifications import guarded

HELP_KEY = "?"


@dataclass(frozen=True)
class Shortcut:
    """A key, with the title and the action of its edit."""

    key: str
    title: str
    tip: str
    run: Callable[[VideoController, MaskEditing], object]
    button: bool = True
    """Whether the palette of corrections has a button for it."""


SHORTCUTS = (
    Shortcut(
        "S",
        "Prompt",
        "Click the lesion, right-click what is not, drag a box, Shift-drag a stroke. Enter takes the outline",
        lambda v, e: v.prompting.toggle() if v.prompting is not None else None,
        False,
    ),
    Shortcut(
        "Ctrl-Left",
        "Backward",
        "Propose the frames before this one again, back to the one you corrected last",
        lambda v, e: v.propagate(backward=True),
        False,
    ),
    Shortcut(
        "Shift-S",
        "Both ways",
        "Propose the frames around this one again, as far as those you corrected",
        lambda v, e: v.propagate(backward=True, forward=True),
        False,
    ),
    Shortcut(
        "Ctrl-Right",
        "Forward",
        "Propose the frames after this one again, up to the next one you corrected",
        lambda v, e: v.propagate(forward=True),
        False,
    ),
    Shortcut(
        "N",
        "Next to correct",
        "Go to the frame whose correction helps the others most",
        lambda v, e: e.next(),
        False,
    ),
    Shortcut("Shift-N", "Back", "Go back to the frame suggested before", lambda v, e: e.previous(), False),
    Shortcut(
        "Q",
        "Accept frame",
        "This mask is right: no model changes it from now on",
        lambda v, e: e.accept(),
        False,
    ),
    Shortcut(
        "Shift-Q",
        "Accept up to here",
        "Accept all proposals since the last frame you dealt with, this one included",
        lambda v, e: e.accept_up_to_here(),
        False,
    ),
    Shortcut(
        "U", "Smooth", "Take small dents and bumps off the outline", lambda v, e: e.change(morphology.smooth)
    ),
    Shortcut("H", "Fill holes", "Fill what the mask encloses", lambda v, e: e.change(morphology.fill_holes)),
    Shortcut(
        "K",
        "Keep largest",
        "Leave only the largest connected component of each class",
        lambda v, e: e.change(morphology.keep_largest),
    ),
    Shortcut("G", "Grow", "One pixel more all around", lambda v, e: e.change(morphology.grow)),
    Shortcut("J", "Shrink", "One pixel less all around", lambda v, e: e.change(morphology.shrink)),
    Shortcut(
        "W",
        "In between",
        "Mix the corrected masks before and after this frame, following the motion",
        lambda v, e: e.interpolate(),
    ),
    Shortcut(",", "Copy previous", "Take the mask of the frame before", lambda v, e: e.copy_from(-1)),
    Shortcut(".", "Copy next", "Take the mask of the frame after", lambda v, e: e.copy_from(1)),
    Shortcut("Shift-R", "Revert", "Give this frame the model's proposal back", lambda v, e: e.revert()),
    Shortcut(
        "Shift-C",
        "Relabel",
        "The connected component under the pointer becomes the class the brush paints",
        lambda v, e: e.relabel(),
    ),
    Shortcut(
        "Ctrl-Z",
        "Undo",
        "Take back what you did last, on whichever frame, also after a restart",
        lambda v, e: v.undo(),
    ),
    Shortcut("Ctrl-Shift-Z", "Redo", "Do again what you took back", lambda v, e: e.redo()),
)

BY_TITLE = {shortcut.title: shortcut for shortcut in SHORTCUTS}


def run(shortcut: Shortcut, controller: VideoController | None) -> None:
    """Run the edit if a session is open, and report errors in the window."""
    editing = controller.editing if controller is not None else None
    if controller is not None and editing is not None:
        guarded(lambda: shortcut.run(controller, editing))


def bind(viewer: napari.Viewer, controller: Callable[[], VideoController | None]) -> None:
    """Bind all keys in a viewer, whatever layer is selected, for the video that `controller()` names."""
    for shortcut in SHORTCUTS:
        viewer.bind_key(
            shortcut.key, lambda _, shortcut=shortcut: run(shortcut, controller()), overwrite=True
        )


def rows() -> list[tuple[str, str, str]]:
    """Key, title and what it does, of all keys."""
    return [(s.key, s.title, s.tip) for s in SHORTCUTS] + [(HELP_KEY, "Keys", "Show or hide these keys")]


def table() -> str:
    """All keys as a table in Markdown."""
    lines = [f"| `{key}` | {title} | {tip} |" for key, title, tip in rows()]
    return "\n".join(["| key | name | what it does |", "|---|---|---|", *lines])
