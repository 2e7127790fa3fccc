"""The frame a key, a button or a brush acts on is the one that the video shows, whatever else is in the viewer."""

from __future__ import annotations

import napari
import numpy as np
from napari.utils.notifications import notification_manager

from napari_vivim.controller.shortcuts import BY_TITLE, run


def four_axes(viewer: napari.Viewer) -> None:
    viewer.add_image(np.zeros((3, 30, 8, 8), np.uint8))


def half_steps(viewer: napari.Viewer) -> None:
    viewer.add_image(np.zeros((20, 8, 8), np.uint8), scale=(0.5, 1, 1))


def thirds(viewer: napari.Viewer) -> None:
    viewer.add_image(np.zeros((30, 8, 8), np.uint8), scale=(1 / 3, 1, 1), translate=(-2.2, 0, 0))


def negative_times(viewer: napari.Viewer) -> None:
    viewer.add_points([[-5, 3, 3], [4, 3, 3]])


def longer(viewer: napari.Viewer) -> None:
    viewer.add_image(np.zeros((40, 8, 8), np.uint8))


def five_axes_before(viewer: napari.Viewer) -> None:
    viewer.add_image(
        np.zeros((2, 2, 40, 8, 8), np.uint8), translate=(0, 0, -7, 0, 0), scale=(1, 1, 0.5, 1, 1)
    )


COMPANY = [four_axes, half_steps, thirds, negative_times, longer, five_axes_before]


def mark(session, frame: int) -> np.ndarray:
    mask = np.zeros(session.shape[1:], np.uint8)
    mask[20:30, 10 + frame : 20 + frame] = 1
    return mask


def test_all_acts_go_to_the_frame_that_is_shown(segment) -> None:
    viewer, controller = segment.viewer, segment.controller
    session, masks = controller.session, controller.masks
    for t in range(12):
        session.propose(t, mark(session, t), "v1")
    for turn, company in enumerate(COMPANY):
        before = list(viewer.layers)
        company(viewer)
        shown = []
        for frame in (7, 2, 1 + turn):
            controller.go_to(frame)
            assert controller.current_frame == frame, company
            shown.append(masks._slice.image.raw)
        frame, picture = 1 + turn, controller.layer._slice.image.raw
        np.testing.assert_array_equal(shown[0], mark(session, 7))
        np.testing.assert_array_equal(shown[1], mark(session, 2))
        np.testing.assert_array_equal(picture, session.video.frame(frame))
        run(BY_TITLE["Accept frame"], controller)
        assert session.frames_with("accepted") == [frame], company
        run(BY_TITLE["Undo"], controller)
        controller.masks.paint((masks.world_to_data(viewer.dims.point)[0], 50, 50), 1)
        assert session.frames_with("corrected") == [frame], company
        run(BY_TITLE["Copy previous"], controller)
        np.testing.assert_array_equal(session.masks[frame], mark(session, frame - 1))
        controller.go_to(0)
        run(BY_TITLE["Undo"], controller)
        assert controller.current_frame == frame and session.masks[frame][50, 50], company
        run(BY_TITLE["Undo"], controller)
        for layer in [layer for layer in viewer.layers if layer not in before]:
            viewer.layers.remove(layer)


def test_a_polygon_between_two_steps_is_painted_into_the_frame_that_is_shown(segment) -> None:
    viewer, controller = segment.viewer, segment.controller
    thirds(viewer)
    viewer.dims.set_point(0, 5.8)
    assert controller.current_frame == 6
    controller.masks.paint_polygon([(5.8, y, x) for y, x in ((5, 5), (5, 12), (12, 12), (12, 5))], 1)
    assert controller.session.frames_with("corrected") == [6] and controller.session.masks[6][8, 8]


def test_outside_of_the_video_nothing_is_accepted_or_painted(segment) -> None:
    viewer, controller = segment.viewer, segment.controller
    session, masks = controller.session, controller.masks
    negative_times(viewer)
    longer(viewer)
    for t in range(12):
        session.propose(t, mark(session, t), "v1")
    for where in (-5, -0.6, 11.6, 12, 39):
        viewer.dims.set_point(0, where)
        notification_manager.records.clear()
        for title in (
            "Accept frame",
            "Accept up to here",
            "Smooth",
            "Grow",
            "Copy previous",
            "In between",
            "Restore the model's proposal",
        ):
            run(BY_TITLE[title], controller)
            assert "No frame of the video is on screen" in notification_manager.records[-1].message
        masks.paint((where, 30, 30), 1)
        masks.fill((where, 25, 15), 1)
        masks.paint_polygon([(where, y, x) for y, x in ((5, 5), (5, 12), (12, 12), (12, 5))], 1)
        assert len(session.frames_with("proposed")) == 12
        assert controller.current_frame == (0 if where < 0 else 11)


def test_no_frame_is_accepted_while_time_is_an_axis_of_the_canvas(segment) -> None:
    controller = segment.controller
    controller.session.propose(0, mark(controller.session, 0), "v1")
    controller.go_to(0)
    segment.viewer.dims.order = (1, 0, 2)
    run(BY_TITLE["Accept frame"], controller)
    assert controller.session.frames_with("accepted") == []


def test_play_shows_the_video_at_its_own_speed(segment, qtbot) -> None:
    viewer, window = segment.viewer, segment.viewer.window._qt_window

    def speeds() -> list[float]:
        return [widget.fps for widget in window._qt_viewer.dims.slider_widgets]

    qtbot.waitUntil(lambda: speeds()[0] == 20)
    half_steps(viewer)
    qtbot.waitUntil(lambda: speeds()[0] == 40)
    four_axes(viewer)
    qtbot.waitUntil(lambda: speeds()[1] == 40)


def test_a_moved_video_keeps_its_frames(segment) -> None:
    controller = segment.controller
    for layer in controller.layers:
        layer.translate = (100, 0, 0)
    controller.go_to(4)
    assert segment.viewer.dims.point[0] == 104 and controller.current_frame == 4
