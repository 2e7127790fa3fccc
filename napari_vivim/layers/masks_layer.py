"""The layer that shows a session's masks and is painted on."""

from functools import cache

import numpy as np
from napari.layers import Image, Labels
from vispy.visuals.line.dash_atlas import DashAtlas
from vivim.session import MaskEditor, Session
from vivim.settings import Settings

from napari_vivim.layers.class_colors import appearance, class_features

BRUSH = 24
"""The brush is at first as wide as this part of the picture's shorter side."""


def masks_layer(session: Session, editor: MaskEditor, video: Image, settings: Settings) -> Labels:
    """A layer on top of a video's. Every stroke on it goes through `editor` to the session.

    The session takes strokes back, because it knows their place among accepting, copying and the rest. The layer's own
    history is cleared after each stroke.
    """
    masks = Labels(
        editor,
        name=f"{video.name} masks",
        scale=video.scale[:3],
        units=video.units[:3],
        axis_labels=video.axis_labels[:3],
        features=class_features(session.classes),
        **appearance(settings),
    )
    masks.brush_size = max(4, round(min(session.shape[1:]) / BRUSH))

    def end_stroke(event: object) -> None:
        session.end_step()
        masks._reset_history()

    masks.events.paint.connect(end_stroke)
    return masks


@cache
def warm_up_masks_layer() -> None:
    """Make a layer that nobody sees, in any thread.

    The first one of a process imports and compiles for about a second. So does VisPy's atlas of dashed lines, which it
    needs before it draws its first line.
    """
    DashAtlas()
    Labels(np.zeros((1, 1, 1), np.uint8), features=class_features(("lesion",)), **appearance(Settings()))
