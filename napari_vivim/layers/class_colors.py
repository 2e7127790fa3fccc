"""Colours of the classes in a masks layer."""

from collections.abc import Sequence
from typing import Any

from napari.utils import DirectLabelColormap
from vivim.settings import Settings

MOST_LABELS = 255


def class_colormap(colors: Sequence[str]) -> DirectLabelColormap:
    """One colour a class, the same in every window. Further classes begin again with the first."""
    by_label: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for label in range(1, MOST_LABELS + 1):
        by_label[label] = colors[(label - 1) % len(colors)]
    return DirectLabelColormap(color_dict=by_label)


def appearance(settings: Settings) -> dict[str, Any]:
    """Colours and opacity of a masks layer, as the settings want them."""
    return {"colormap": class_colormap(settings.colors()), "opacity": settings.opacity / 100}


def class_features(names: Sequence[str]) -> dict[str, list]:
    """A table that lets napari's status bar name the class under the pointer."""
    return {"index": list(range(len(names) + 1)), "class": ["background", *names]}
