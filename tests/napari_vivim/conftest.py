"""A viewer without a display, a short phantom video, and a model that answers at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from vivim.inference.proposals import ProposeEvent
from vivim.video import make_phantom, write_video

FRAMES = 12
PATIENCE_MS = 300_000
NO_DISPLAY = sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
if NO_DISPLAY:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what draws where nothing can be drawn: Qt's offscreen platform has no OpenGL, which napari needs."""
    if NO_DISPLAY:
        reason = "needs a display; run under scripts/with_display.sh or xvfb-run"
        for item in items:
            if {"segment", "make_napari_viewer"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason=reason))


class PatientBot(QtBot):
    """Waits for what must come as long as a busy machine needs; that it came too late is no finding of a test."""

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = 0) -> None:
        super().waitUntil(callback, timeout=max(timeout, PATIENCE_MS))

    def waitSignal(self, signal: Any, *, timeout: int = 0, **options: Any) -> Any:
        return super().waitSignal(signal, timeout=max(timeout, PATIENCE_MS), **options)

    def waitExposed(self, widget: Any, *, timeout: int = 0) -> Any:
        return super().waitExposed(widget, timeout=max(timeout, PATIENCE_MS))


@pytest.fixture
def qtbot(qapp: Any, request: pytest.FixtureRequest) -> PatientBot:
    return PatientBot(request)


@pytest.fixture(scope="session")
def manifests() -> list[Any]:
    """The installed plugins, read once: napari reads all manifests anew for each viewer, half a second each time.

    What is loaded until now stays: no later search for garbage, of which there are three a viewer, looks at it.
    """
    import napari.viewer  # noqa: F401 (what loads with it)
    from npe2 import PluginManifest

    found = list(PluginManifest.discover())
    gc.collect()
    gc.freeze()
    return found


@pytest.fixture(autouse=True)
def known_plugins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer finds the plugins that are installed without another search."""
    if "make_napari_viewer" in request.fixturenames:
        from npe2 import PluginManifest

        found = request.getfixturevalue("manifests")
        monkeypatch.setattr(PluginManifest, "discover", lambda paths=(): iter(found))


@pytest.fixture(autouse=True)
def cold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Opening a video loads no model; the names of those that would have been warmed up."""
    warmed: list[str] = []
    monkeypatch.setattr("vivim.finetuning.warmup.warm_up", lambda model, *_: warmed.append(model.name))
    if "fake_model" not in request.fixturenames:
        monkeypatch.setattr(
            "napari_vivim.controller.video_controller.VideoController.warm_up", lambda controller: None
        )
    return warmed


@pytest.fixture(autouse=True)
def nothing_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction sets off nothing in the background, but for tests that ask for `ahead`."""
    if "ahead" not in request.fixturenames:
        monkeypatch.setattr(
            "napari_vivim.controller.idle_precompute.IdlePrecompute._begin", lambda ahead: None
        )


@pytest.fixture(scope="session")
def phantom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "phantom.mp4"
    return write_video(path, make_phantom(FRAMES, size=(64, 64)).frames, 20.0)


@pytest.fixture
def video(phantom_file: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "phantom.mp4"
    copy.write_bytes(phantom_file.read_bytes())
    return copy


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Proposes a square; `pause` seconds a frame."""
    import time

    fake = SimpleNamespace(pause=0.0)

    def propose(session: Any, model: Any, *, start: int = 0, **_: Any) -> Iterator[ProposeEvent]:
        mask = np.zeros(session.shape[1:], np.uint8)
        mask[10:20, 10:20] = 1
        order = sorted(range(len(session)), key=lambda t: abs(t - start))
        for done, t in enumerate(order, start=1):
            time.sleep(fake.pause)
            yield ProposeEvent(t, session.propose(t, mask, "fake"), done, len(order), 1.0)

    monkeypatch.setattr("vivim.api.propose", propose)
    monkeypatch.setattr(
        "vivim.inference.kernel_compilation.compile_kernels", lambda stop=None: None
    )  # tens of seconds the first time
    monkeypatch.setattr("vivim.registry.registry.load_model", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr("vivim.registry.registry.model_path", lambda name: Path(__file__))
    return fake


@pytest.fixture
def segment(make_napari_viewer: Callable, qtbot: Any, video: Path) -> Any:
    """The panel "Vivim Segment" with the phantom open; viewer as `.viewer`."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(
        lambda: widget.controller is not None and widget.controller.session is not None, timeout=10000
    )
    return widget
