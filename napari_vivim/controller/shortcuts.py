"""All keys of the window, in one registry.

`SHORTCUTS` binds the keys, labels the buttons, and makes the table that the window shows for "?" and that the
documentation holds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import napari
from napari.settings import get_settings
from vivim.imaging import morphology

from napari_vivim.controller.mask_editing import MaskEditing
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.layers.masks_layer import cycle_looks
from napari_vivim.layers.video_frames import adjust
from napari_vivim.qt.notifications import guarded

HELP_KEY = "?"
PROMPT, DECIDE, SHAPE, NEIGHBOURS, UNDO, GO, LOOK = (
    "Prompt", "Decide", "Shape", "From elsewhere", "Undo", "Go to", "Look",
)  # fmt: skip
"""Groups of keys. The dock has a row of buttons for each of `ROWS`."""
ROWS = SHAPE, NEIGHBOURS
FAR = 10
"""Frames of a long step."""
STRONGER = 1.15
"""A key changes brightness or contrast by this factor."""


@dataclass(frozen=True)
class Shortcut:
    """A key, with the group, the title and the action of what it does."""

    key: str
    group: str
    title: str
    tip: str
    run: Callable[[VideoController, MaskEditing], object]
    icon: str = ""
    """Its drawing in `napari_vivim.qt.style`, where there is one."""


SHORTCUTS = (
    Shortcut("S", PROMPT, "Prompt",
             "Click the lesion, right-click what is not, drag a box, Shift-drag a stroke. Enter takes the outline",
             lambda v, e: v.prompting.toggle() if v.prompting is not None else None),
    Shortcut("Ctrl-Left", PROMPT, "Backward",
             "Propose the frames before this one again, back to the one you corrected last",
             lambda v, e: v.propagate(backward=True)),
    Shortcut("Shift-S", PROMPT, "Both ways",
             "Propose the frames around this one again, as far as those you corrected",
             lambda v, e: v.propagate(backward=True, forward=True)),
    Shortcut("Ctrl-Right", PROMPT, "Forward",
             "Propose the frames after this one again, up to the next one you corrected",
             lambda v, e: v.propagate(forward=True)),
    Shortcut("N", DECIDE, "Next to correct", "Go to the frame whose correction helps the others most",
             lambda v, e: e.next()),
    Shortcut("Shift-N", DECIDE, "Back", "Go back to the frame suggested before", lambda v, e: e.previous()),
    Shortcut("Q", DECIDE, "Accept frame", "This mask is right: no model changes it from now on",
             lambda v, e: e.accept()),
    Shortcut("Shift-Q", DECIDE, "Accept up to here",
             "Accept all proposals since the last frame you dealt with, this one included",
             lambda v, e: e.accept_up_to_here()),
    Shortcut("D", DECIDE, "Nothing here", "This frame shows no lesion: it is empty, and no model changes it",
             lambda v, e: e.nothing_here()),
    Shortcut("Shift-D", DECIDE, "Nothing up to here",
             "No lesion in any frame since the last one you dealt with, this one included",
             lambda v, e: e.nothing_up_to_here()),
    Shortcut("U", SHAPE, "Smooth", "Take small dents and bumps off the outline",
             lambda v, e: e.change(morphology.smooth), "smooth"),
    Shortcut("H", SHAPE, "Fill holes", "Fill what the mask encloses",
             lambda v, e: e.change(morphology.fill_holes), "fill-holes"),
    Shortcut("K", SHAPE, "Keep largest", "Leave only the largest connected component of each class",
             lambda v, e: e.change(morphology.keep_largest), "keep-largest"),
    Shortcut("G", SHAPE, "Grow", "One pixel more all around", lambda v, e: e.change(morphology.grow), "grow"),
    Shortcut("J", SHAPE, "Shrink", "One pixel less all around", lambda v, e: e.change(morphology.shrink), "shrink"),
    Shortcut(",", NEIGHBOURS, "Copy previous", "Take the mask of the frame before",
             lambda v, e: e.copy_from(-1), "copy-previous"),
    Shortcut(".", NEIGHBOURS, "Copy next", "Take the mask of the frame after",
             lambda v, e: e.copy_from(1), "copy-next"),
    Shortcut("W", NEIGHBOURS, "In between",
             "Mix the corrected masks before and after this frame, following the motion",
             lambda v, e: e.interpolate(), "between"),
    Shortcut("Shift-R", NEIGHBOURS, "Restore the model's proposal", "Give this frame back what the model proposed",
             lambda v, e: e.revert(), "restore"),
    Shortcut("Shift-C", NEIGHBOURS, "Relabel",
             "The connected component under the pointer becomes the class the brush paints",
             lambda v, e: e.relabel(), "relabel"),
    Shortcut("Ctrl-Z", UNDO, "Undo", "Take back what you did last, on whichever frame, also after a restart",
             lambda v, e: v.undo(), "undo"),
    Shortcut("Ctrl-Shift-Z", UNDO, "Redo", "Do again what you took back", lambda v, e: e.redo(), "redo"),
    Shortcut("Shift-Left", GO, "10 back", "Go 10 frames back", lambda v, e: v.step(-FAR)),
    Shortcut("Shift-Right", GO, "10 on", "Go 10 frames on", lambda v, e: v.step(FAR)),
    Shortcut("Home", GO, "First frame", "Go to the first frame", lambda v, e: v.go_to(0)),
    Shortcut("End", GO, "Last frame", "Go to the last frame", lambda v, e: v.go_to(v.layer.data.shape[0] - 1)),
    Shortcut("Alt-Left", GO, "Previous corrected", "Go to the nearest corrected or accepted frame before",
             lambda v, e: e.go_to_done(-1)),
    Shortcut("Alt-Right", GO, "Next corrected", "Go to the nearest corrected or accepted frame after",
             lambda v, e: e.go_to_done(1)),
    Shortcut("A", GO, "Loop",
             "Press at one frame and at another to play between them again and again. Press once more to end it",
             lambda v, e: v.loop.mark()),
    Shortcut("T", LOOK, "Outline, fill, hide", "Show masks as outlines, then filled, then not at all",
             lambda v, e: cycle_looks(v.masks)),
    Shortcut("Shift-Up", LOOK, "Brighter", "What is dark in the picture gets lighter",
             lambda v, e: adjust(v.layer, gamma=1 / STRONGER)),
    Shortcut("Shift-Down", LOOK, "Darker", "What is light in the picture gets darker",
             lambda v, e: adjust(v.layer, gamma=STRONGER)),
    Shortcut("Ctrl-Shift-Up", LOOK, "More contrast", "Dark gets darker, and light lighter",
             lambda v, e: adjust(v.layer, contrast=STRONGER)),
    Shortcut("Ctrl-Shift-Down", LOOK, "Less contrast", "Dark and light come nearer to each other",
             lambda v, e: adjust(v.layer, contrast=1 / STRONGER)),
    Shortcut("I", LOOK, "As it was", "Show the picture as it was at first", lambda v, e: adjust(v.layer)),
)  # fmt: skip

BY_TITLE = {shortcut.title: shortcut for shortcut in SHORTCUTS}
OWN = {
    "napari:hold_for_pan_zoom": "Move the picture",
    "napari:increment_dims_left": "1 back",
    "napari:increment_dims_right": "1 on",
    "napari:activate_labels_paint_mode": "Brush",
    "napari:activate_labels_erase_mode": "Eraser",
    "napari:activate_labels_fill_mode": "Fill",
    "napari:activate_labels_polygon_mode": "Polygon",
    "napari:activate_labels_picker_mode": "Pick a class",
    "napari:activate_labels_pan_zoom_mode": "No tool",
    "napari:decrease_brush_size": "Smaller brush",
    "napari:increase_brush_size": "Larger brush",
    "napari:toggle_selected_visibility": "Show or hide the layer",
    "napari:reset_view": "All of the picture",
}
"""Keys of napari itself that an annotator uses, by the names of their actions."""


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


def groups() -> dict[str, list[tuple[str, str, str]]]:
    """Key, title and what it does, of all keys, by group. The last group is napari's, as its preferences have it."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for one in SHORTCUTS:
        found.setdefault(one.group, []).append((one.key, one.title, one.tip))
    found[LOOK].append((HELP_KEY, "Keys", "Show or hide these keys"))
    chosen = get_settings().shortcuts.shortcuts
    own = ((" or ".join(str(key) for key in chosen.get(name, [])), title, "") for name, title in OWN.items())
    found["napari"] = [row for row in own if row[0]]
    return found


def table() -> str:
    """All keys of the plugin as a table in Markdown."""
    rows = [row for group, rows in groups().items() if group != "napari" for row in rows]
    lines = [f"| `{key}` | {title} | {tip} |" for key, title, tip in rows]
    return "\n".join(["| key | name | what it does |", "|---|---|---|", *lines])
