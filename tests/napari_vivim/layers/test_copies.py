"""napari's own gestures on our layers: a copy of its own or a sentence, and the session's masks stay as they are."""

from __future__ import annotations

import numpy as np
import tifffile
from napari.layers import Image, Labels, _layer_actions
from napari.utils.notifications import notification_manager

from napari_vivim.controller.video_controller import video_layers
from napari_vivim.layers.masks_layer import MasksLayer


def drawn(segment) -> np.ndarray:
    mask = np.zeros(segment.controller.session.shape[1:], np.uint8)
    mask[20:30, 10:20] = 1
    for t in range(12):
        segment.controller.session.correct(t, np.roll(mask, t, 1))
    return np.asarray(segment.controller.session.masks[:])


def select(segment, layer) -> None:
    segment.viewer.layers.selection = {layer}
    segment.viewer.layers.selection.active = layer


def test_a_duplicate_of_the_masks_is_an_array_of_its_own(segment) -> None:
    controller, layers, truth = segment.controller, segment.viewer.layers, drawn(segment)
    select(segment, controller.masks)
    _layer_actions._duplicate_layer(layers)
    copied = layers[controller.masks.name + " copy"]
    assert not isinstance(copied, MasksLayer) and isinstance(copied.data, np.ndarray)
    np.testing.assert_array_equal(copied.data, truth)
    copied.paint((3, 50, 50), 2)
    np.testing.assert_array_equal(controller.session.masks[:], truth)


def test_masks_of_another_type_are_a_layer_beside_the_session_s(segment) -> None:
    controller, layers, truth = segment.controller, segment.viewer.layers, drawn(segment)
    masks = controller.masks
    for mode in ("int64", "uint16"):
        select(segment, masks)
        _layer_actions._convert_dtype(layers, mode)
        copied = layers[f"{masks.name} {mode}"]
        assert copied.data.dtype == mode and isinstance(copied.data, np.ndarray)
        np.testing.assert_array_equal(copied.data, truth)
        copied.paint((3, 50, 50), 2)
    masks.paint((4, 50, 50), 1)
    assert controller.session.masks[4][50, 50] and not controller.session.masks[3][50, 50]
    assert masks.data.shape == truth.shape and isinstance(masks, MasksLayer)


def test_masks_as_a_picture_are_a_copy(segment) -> None:
    layers, truth = segment.viewer.layers, drawn(segment)
    name = segment.controller.masks.name
    select(segment, segment.controller.masks)
    _layer_actions._convert(layers, "image")
    assert isinstance(layers[name], Image) and isinstance(layers[name].data, np.ndarray)
    np.testing.assert_array_equal(layers[name].data, truth)


def test_a_grey_video_as_labels_is_a_copy_to_paint_on(segment, tmp_path, qtbot) -> None:
    viewer = segment.viewer
    viewer.layers.clear()
    pixels = np.arange(4 * 8 * 9).reshape(4, 8, 9).astype(np.uint8)
    tifffile.imwrite(tmp_path / "grey.tif", pixels, photometric="minisblack")
    (layer,) = viewer.open(str(tmp_path / "grey.tif"), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not None and segment.controller.session is not None)
    session = segment.controller.session
    viewer.layers.selection.active = layer
    viewer.layers.selection = {layer}
    _layer_actions._convert(viewer.layers, "labels")
    labels = viewer.layers["grey"]
    assert isinstance(labels, Labels) and isinstance(labels.data, np.ndarray)
    np.testing.assert_array_equal(labels.data, pixels)
    labels.paint((2, 4, 4), 7)
    assert not np.asarray(session.masks[:]).any()


def test_masks_shown_in_another_layer_are_a_copy(segment) -> None:
    controller, truth = segment.controller, drawn(segment)
    other = segment.viewer.add_labels(controller.masks.data)
    other.paint((3, 50, 50), 2)
    np.testing.assert_array_equal(controller.session.masks[:], truth)


def test_a_duplicate_of_the_video_outlives_it(segment, qtbot) -> None:
    controller, layers = segment.controller, segment.viewer.layers
    truth = np.asarray(controller.session.video.frame(9))
    select(segment, controller.layer)
    _layer_actions._duplicate_layer(layers)
    copied = layers[controller.layer.name + " copy"]
    assert video_layers(segment.viewer) == [controller.layer]
    layers.remove(controller.layer)
    qtbot.wait(50)
    segment.viewer.dims.set_point(0, 9)
    np.testing.assert_array_equal(copied._slice.image.raw, truth)
    np.testing.assert_array_equal(copied.data[9], truth)


def test_a_projection_a_split_and_a_save_of_the_video(segment, tmp_path) -> None:
    controller, layers = segment.controller, segment.viewer.layers
    pictures = np.stack(list(controller.session.video.frames(0, 12)))
    select(segment, controller.layer)
    _layer_actions._project(layers, 0, "max")
    np.testing.assert_array_equal(layers[-1].data, pictures.max(0))
    select(segment, controller.layer)
    layers.save(str(tmp_path / "a.tif"), selected=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pictures)
    _layer_actions._split_rgb(layers)
    reds = [x for x in layers if isinstance(x, Image) and x.data.shape == pictures.shape[:3]]
    assert len(reds) == 3
    np.testing.assert_array_equal(reds[0].data, pictures[..., 0])
    assert controller.session is None


def test_a_new_label_is_answered_in_words(segment) -> None:
    from napari.layers.labels._labels_key_bindings import new_label

    drawn(segment)
    new_label(segment.controller.masks)
    assert "not supported" in notification_manager.records[-1].message
