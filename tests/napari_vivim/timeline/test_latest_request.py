"""The latest request is served, and those before it are given up."""

from __future__ import annotations

import threading

from napari_vivim.timeline.thumbnails import LatestRequest


def test_a_new_request_supersedes_those_before_it() -> None:
    begun, served, last = threading.Event(), [], threading.Event()

    def serve(request: int, superseded: threading.Event) -> None:
        begun.set()
        if request == 0:
            assert superseded.wait(60)
        served.append(request)
        if request == 3:
            last.set()

    requests = LatestRequest("test", serve)
    requests.ask(0)
    assert begun.wait(60)
    for request in (1, 2, 3):
        requests.ask(request)
    assert last.wait(60) and served == [0, 3]
    requests.close()
    requests.close()
    requests._thread.join(60)
    assert not requests._thread.is_alive()


def test_what_was_cancelled_before_its_turn_is_never_served() -> None:
    hold, served = threading.Event(), []

    def serve(request: int, superseded: threading.Event) -> None:
        assert hold.wait(60)
        served.append((request, superseded.is_set()))

    requests = LatestRequest("test", serve)
    requests.ask(1)
    requests.ask(2)
    requests.cancel()
    hold.set()
    requests.close()
    requests._thread.join(60)
    assert (2, False) not in served and (1, False) not in served
