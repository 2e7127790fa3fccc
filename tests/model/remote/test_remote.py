"""The remote path gives what the local one gives, whatever happens to the connection on the way."""

from __future__ import annotations

import gc
import os
import ssl
import stat
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import trustme
import vivim.finetuning.job
import vivim.finetuning.training_loop
import vivim.inference.proposals
from vivim import Session, finetune, load_model, propose
from vivim.devices import REMOTE
from vivim.errors import DeviceError
from vivim.finetuning.events import Finished, Step, Waiting
from vivim.registry.registry import list_models
from vivim.remote.config import read_token, remote_device, server_token, split_address
from vivim.remote.limits import Limits
from vivim.remote.protocol import RemoteError


def at(port: int) -> str:
    return f"{REMOTE}http://127.0.0.1:{port}"


@pytest.fixture
def sessions(sample, tmp_path):
    """Two sessions of one video with the same two corrected frames."""
    opened = [Session.open(sample.video, folder=tmp_path / name, author="tester") for name in "ab"]
    for session in opened:
        for t in (3, 8):
            session.correct(t, sample.masks[t])
    yield opened
    for session in opened:
        session.close()


@pytest.fixture
def few_steps(monkeypatch) -> None:
    """Fine-tune in a few steps, here and in the server's thread."""
    monkeypatch.setattr(vivim.finetuning.training_loop, "STEP_CHOICES", (2, 6))


def test_masks_are_those_of_the_local_path(port, sessions, tiny_model) -> None:
    here, there = sessions
    local = list(propose(here, tiny_model, device="cpu", start=5, clip_length=3))
    remote = list(propose(there, tiny_model, device=at(port), start=5, clip_length=3))
    frames = [e for e in remote if not e.note]
    assert [(e.frame, e.written, e.done, e.total) for e in frames] == [
        (e.frame, e.written, e.done, e.total) for e in local
    ]
    assert np.asarray(here.masks[:]).tobytes() == np.asarray(there.masks[:]).tobytes()
    assert all(here.status(t) == there.status(t) for t in range(12))
    assert here.disagreement.tobytes() == there.disagreement.tobytes() and np.nanmax(here.disagreement) > 0


def test_without_keeping_nothing_is_written(port, sessions, swift_model) -> None:
    here, there = sessions
    local = list(propose(here, swift_model, device="cpu", clip_length=3, keep=False))
    remote = [
        e for e in propose(there, swift_model, device=at(port), clip_length=3, keep=False) if not e.note
    ]
    assert [(e.frame, e.written, e.done, e.total) for e in remote] == [
        (e.frame, e.written, e.done, e.total) for e in local
    ]
    assert not any(e.written for e in remote) and there.frames_with("proposed") == []


def test_what_is_there_already_is_not_asked_for_again(port, sessions, swift_model) -> None:
    here, there = sessions
    have = [0, 1, 5, 8]
    local = list(propose(here, swift_model, device="cpu", clip_length=4, have=have))
    remote = [e for e in propose(there, swift_model, device=at(port), clip_length=4, have=have) if not e.note]
    assert sorted(e.frame for e in remote) == sorted(e.frame for e in local) == [2, 4, 6, 7, 9, 10, 11]
    assert {e.total for e in remote} == {e.total for e in local} == {7}
    assert np.asarray(here.masks[:]).tobytes() == np.asarray(there.masks[:]).tobytes()
    assert list(propose(there, swift_model, device=at(port), have=range(12))) == []


def test_the_size_of_a_batch_is_the_clients_or_refused(port, sessions, swift_model, monkeypatch) -> None:
    _, there = sessions
    seen = []

    class Watched(vivim.inference.proposals.Runner):
        def __init__(self, *args, batch_size=None, **options) -> None:
            seen.append(batch_size)
            super().__init__(*args, batch_size=batch_size, **options)

    monkeypatch.setattr(vivim.inference.proposals, "Runner", Watched)
    assert len([e for e in propose(there, swift_model, device=at(port), batch_size=2) if not e.note]) == 10
    assert seen == [2]
    with pytest.raises(ValueError, match="batch_size"):
        list(propose(there, swift_model, device=at(port), batch_size=0))
    with pytest.raises(RemoteError, match="batch_size"):
        list(propose(there, swift_model, device=at(port), batch_size=65))


def test_a_server_out_of_memory_says_so_and_serves_the_next(port, sessions, swift_model, monkeypatch) -> None:
    _, there = sessions

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    with monkeypatch.context() as broken:
        broken.setattr(vivim.inference.proposals, "mask_from_logits", full)
        with pytest.raises(DeviceError, match="memory"):
            list(propose(there, swift_model, device=at(port)))
        broken.setattr(
            "vivim.remote.handlers.received_shapes", lambda *_: (_ for _ in ()).throw(MemoryError())
        )
        with pytest.raises(DeviceError, match="memory of the server"):
            list(propose(there, swift_model, device=at(port)))
    assert len([e for e in propose(there, swift_model, device=at(port)) if not e.note]) == 10


def test_windows_too_large_for_the_server_are_refused_with_what_it_takes(
    serving, sessions, swift_model
) -> None:
    _, there = sessions
    with serving(limits=Limits(window_pixels=4 * 32 * 32, session_pixels=32 * 32)) as port:
        with pytest.raises(RemoteError, match=r"at most 4 frames.*shorter clip length"):
            list(propose(there, swift_model, device=at(port), clip_length=5))
        with pytest.raises(RemoteError, match="smaller batch"):
            list(propose(there, swift_model, device=at(port), clip_length=3, batch_size=2))
        assert (
            len([e for e in propose(there, swift_model, device=at(port), clip_length=4) if not e.note]) == 10
        )
        with pytest.raises(RemoteError, match="at most 1 videos"):
            list(finetune(sessions, swift_model, device=at(port)))


@pytest.mark.parametrize("content", [None, "no certificate", "folder"])
def test_an_authority_that_cannot_be_read_is_named(
    sessions, swift_model, tmp_path, monkeypatch, content
) -> None:
    path = tmp_path / "authority.pem"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    monkeypatch.setenv("VIVIM_REMOTE_CA", str(path))
    with pytest.raises(RemoteError, match=r"authority\.pem.*VIVIM_REMOTE_CA"):
        list(propose(sessions[0], swift_model, device=f"{REMOTE}https://127.0.0.1:9"))


@pytest.mark.parametrize("windows", ["every", "overlap"])
def test_cut_off_at_random_points_it_ends_in_the_same_masks(
    port, relay, sessions, swift_model, dice, windows
) -> None:
    here, there = sessions
    options = {"clip_length": 4, "windows": windows}
    list(propose(here, swift_model, device="cpu", **options))
    with relay(port, lambda: dice.randrange(100, 2500)) as through:
        notes = [e.note for e in propose(there, swift_model, device=at(through), **options)]
    assert sum("waiting for" in note for note in notes) >= 2
    assert np.asarray(here.masks[:]).tobytes() == np.asarray(there.masks[:]).tobytes()


def test_a_connection_lost_for_good_is_said_and_what_arrived_is_kept(
    port, relay, sessions, swift_model
) -> None:
    _, there = sessions
    lives = iter([1600])
    with relay(port, lambda: next(lives, 0)) as through, pytest.raises(RemoteError, match="is kept"):
        list(propose(there, swift_model, device=at(through), clip_length=2))
    arrived = there.frames_with("proposed")
    assert 0 < len(arrived) < 10


@pytest.fixture
def runs(monkeypatch) -> list[str]:
    """Grows with each fine-tune that begins, here and in the server's thread."""
    begun: list[str] = []
    run = vivim.finetuning.job.run

    def counted(*given, **named):
        begun.append("run")
        return run(*given, **named)

    monkeypatch.setattr(vivim.finetuning.job, "run", counted)
    return begun


def test_a_finetune_cut_off_goes_on_and_is_that_of_the_local_path(
    port, relay, sessions, swift_model, few_steps, runs
) -> None:
    here, there = sessions
    local = list(finetune([here], swift_model, name="here", device="cpu", in_process=True))
    runs.clear()
    lives = iter([400, 0, 900, 2500, 100_000])
    with relay(port, lambda: next(lives, 2**40)) as through:
        remote = list(finetune([there], swift_model, name="there", device=at(through)))
    assert runs == ["run"] and next(lives, None) is None
    assert "waiting for 127.0.0.1, trying again in 1 s" in {e.note for e in remote if isinstance(e, Waiting)}
    steps = [[(e.fold, e.step, e.total) for e in events if isinstance(e, Step)] for events in (local, remote)]
    kinds = [[e.kind for e in events if not isinstance(e, Waiting)] for events in (local, remote)]
    assert steps[0] == steps[1] and kinds[0] == kinds[1]
    assert isinstance(remote[-1], Finished) and remote[-1].promoted == local[-1].promoted
    one, other = load_model("here"), load_model("there")
    for name, values in other.state_dict().items():  # sums are rounded by where in memory numbers lie
        torch.testing.assert_close(values, one.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert one.provenance["learned_from"] == other.provenance["learned_from"]
    assert not list(Path(tempfile.gettempdir()).glob(f"vivim-remote-*-{os.getpid()}-*"))


def test_a_finetune_that_the_server_has_forgotten_begins_again(
    serving, relay, sessions, swift_model, few_steps, runs
) -> None:
    lives = iter([2500])
    with (
        serving(limits=Limits(away_seconds=0.0)) as port,
        relay(port, lambda: next(lives, 2**40)) as through,
    ):
        events = list(finetune([sessions[0]], swift_model, device=at(through)))
    steps = [(e.fold, e.step) for e in events if isinstance(e, Step)]
    assert len(runs) == 2 and len(steps) == len(set(steps)) and isinstance(events[-1], Finished)


def test_who_comes_back_needs_the_token(
    port, relay, sessions, swift_model, few_steps, runs, monkeypatch, token
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda size: "the same name twice, long enough, to come back")
    lives = iter([2500])
    with relay(port, lambda: next(lives, 2**40)) as through:
        events = finetune([sessions[0]], swift_model, device=at(through))
        with pytest.raises(RemoteError, match="does not accept this token"):
            for event in events:
                if isinstance(event, Waiting) and "trying again" in event.note:
                    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", "another-token-of-some-length")
        assert [info.name for info in list_models()] == ["starter"]
        monkeypatch.setenv("VIVIM_REMOTE_TOKEN", token)
        with pytest.raises(RemoteError, match="Another request has this name"):
            list(finetune([sessions[0]], swift_model, device=at(port), seed=1))
        assert isinstance(list(finetune([sessions[0]], swift_model, device=at(port)))[-1], Finished)
    assert runs == ["run"]


def test_stopping_the_client_stops_the_servers_job(port, sessions, swift_model) -> None:
    _, there = sessions
    events = finetune([there], swift_model, device=at(port))
    for event in events:
        if isinstance(event, Step):
            break
    events.close()
    assert [info.name for info in list_models()] == ["starter"]
    list(
        propose(there, swift_model, device=at(port), frames=[0])
    )  # would wait for minutes behind a job that goes on
    stop = threading.Event()
    stop.set()
    assert not list(propose(there, swift_model, device=at(port), stop=stop))


def test_two_clients_wait_for_each_other(serving, sessions, swift_model) -> None:
    with serving() as port:
        first = propose(sessions[0], swift_model, device=at(port), clip_length=1)
        while not next(first).done:
            pass
        second = propose(sessions[1], swift_model, device=at(port), clip_length=1)
        notes = [next(second).note]
        list(first)
        for event in second:
            notes.append(event.note)
    assert notes[0] == "the server is busy, 1 before you"
    assert "the server gets ready" in notes
    assert np.array_equal(np.asarray(sessions[0].masks[:]), np.asarray(sessions[1].masks[:]))


def test_a_full_line_is_said(serving, sessions, swift_model) -> None:
    with serving(limits=Limits(queue=1)) as port:
        first = propose(sessions[0], swift_model, device=at(port), clip_length=1)
        while not next(first).done:
            pass
        with pytest.raises(RemoteError, match="too much to do"):
            list(propose(sessions[1], swift_model, device=at(port)))
        first.close()


def test_tls_with_a_certificate_of_ones_own(serving, sessions, swift_model, tmp_path, monkeypatch) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(tls=context) as port:
        device = f"{REMOTE}https://localhost:{port}"
        with pytest.raises(RemoteError, match="not trusted"):
            list(propose(sessions[0], swift_model, device=device, frames=[0]))
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("VIVIM_REMOTE_CA", str(tmp_path / "ca.pem"))
        assert list(propose(sessions[0], swift_model, device=device, frames=[0]))[-1].written
        by_address = device.replace("localhost", "127.0.0.1")
        with pytest.raises(RemoteError, match="by the name that is in its certificate"):
            list(propose(sessions[0], swift_model, device=by_address, frames=[0]))
        with pytest.raises(RemoteError, match="with TLS its address begins with https"):
            list(propose(sessions[0], swift_model, device=by_address.replace("https", "http"), frames=[0]))


def test_a_wrong_token_is_refused_without_another_attempt(port, sessions, swift_model, monkeypatch) -> None:
    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", "another-token-of-some-length")
    with pytest.raises(RemoteError, match="does not accept this token"):
        list(propose(sessions[0], swift_model, device=at(port)))


def test_no_server_is_said_at_once(sessions, swift_model) -> None:
    with pytest.raises(RemoteError, match="No connection"):
        list(propose(sessions[0], swift_model, device=at(9)))


@pytest.mark.parametrize(
    "address",
    ["http://gpu.example:8765", "https://me:secret@gpu", "ftp://gpu", "https://gpu/?token=1", "https://"],
)
def test_addresses_that_would_leak_or_mean_nothing_are_refused(address) -> None:
    with pytest.raises(RemoteError):
        split_address(REMOTE + address)


def test_settings_and_tokens(monkeypatch, vivim_home) -> None:
    assert remote_device() is None
    (vivim_home / "remote.json").write_text('{"address": "https://gpu.example:99"}')
    assert remote_device() == "remote:https://gpu.example:99"
    monkeypatch.setenv("VIVIM_REMOTE", "https://other.example")
    assert split_address(remote_device() or "") == ("other.example", 8765, True)
    token = server_token(vivim_home / "serve-token")
    assert server_token(vivim_home / "serve-token") == token and len(token) > 30
    if os.name == "posix":
        assert stat.S_IMODE((vivim_home / "serve-token").stat().st_mode) == 0o600
        (vivim_home / "serve-token").chmod(0o640)
        with pytest.raises(RemoteError, match="chmod 600"):
            read_token(vivim_home / "serve-token")


def test_nothing_is_left_open(port, sessions, swift_model) -> None:
    events = propose(sessions[0], swift_model, device=at(port), clip_length=1)
    next(events)
    del events
    gc.collect()
    assert list(propose(sessions[0], swift_model, device=at(port), frames=[0]))[-1].written
