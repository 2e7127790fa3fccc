"""Memory: masks are enlarged one at a time, what cannot fit is refused before, and running out of it is told."""

from __future__ import annotations

import json

import cv2
import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
import vivim.cli
import vivim.utils.system
from hypothesis import given
from hypothesis import strategies as st
from vivim import Session, Vivim, VivimConfig, finetune, propose
from vivim.devices import is_out_of_memory
from vivim.errors import DeviceError
from vivim.inference.proposals import segment_frames
from vivim.network.preprocessing import mask_from_logits

FULL = [
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 3221225472 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"
    ),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("cudaErrorMemoryAllocation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
    RuntimeError("std::bad_alloc"),
    cv2.error("OpenCV(4.10) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 99 bytes"),
]


@given(classes=st.integers(1, 4), same=st.booleans(), seed=st.integers(0, 99))
def test_a_mask_is_the_class_of_the_largest_positive_logit(classes: int, same: bool, seed: int) -> None:
    logits = torch.randn(classes, 8, 12, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    size = (8, 12) if same else (19, 31)
    large = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    values, first = large.numpy(), np.argmax(large.numpy(), axis=0)
    expected = np.where(values.max(0) > 0, first + 1, 0)
    np.testing.assert_array_equal(mask_from_logits(logits, size), expected)


@pytest.mark.parametrize("classes", [1, 5])
def test_no_more_than_one_plane_of_the_pictures_size_is_made_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    model = Vivim(VivimConfig(size="b0", num_classes=classes, input_size=(32, 32)))
    pixels, largest, enlarge = session.shape[1] * session.shape[2], [0], F.interpolate

    def watched(x: torch.Tensor, **options) -> torch.Tensor:
        made = enlarge(x, **options)
        if tuple(options.get("size") or ()) == session.shape[1:]:
            largest.append(made.numel())
        return made

    monkeypatch.setattr(F, "interpolate", watched)
    assert len(list(propose(session, model, device="cpu", clip_length=12))) == 12
    segment_frames(model, session.video.frame(0)[None], device="cpu")
    assert max(largest) == pixels


@pytest.mark.parametrize("error", FULL, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_all_words_for_full_memory_are_known(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", FULL[:2], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["network", "enlarging", "reading"])
def test_running_out_of_memory_is_a_device_error_and_the_session_goes_on(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    model = Vivim(VivimConfig(size="b0", input_size=(32, 32)))

    def full(*_: object, **__: object) -> None:
        raise error

    name = {
        "network": "vivim.network.vivim.Vivim.features",
        "enlarging": "vivim.inference.proposals.mask_from_logits",
        "reading": "vivim.inference.session_inputs.resize_frame",
    }[place]
    with monkeypatch.context() as broken:
        broken.setattr(name, full)
        with pytest.raises(DeviceError, match="memory"):
            list(propose(session, model, device="cpu"))
        if place != "reading":
            with pytest.raises(DeviceError, match="memory"):
                segment_frames(model, session.video.frame(0)[None], device="cpu")
    session.correct(0, np.ones(session.shape[1:], np.uint8))
    assert len(list(propose(session, model, device="cpu"))) == 11


def test_other_errors_are_not_taken_for_full_memory() -> None:
    assert not is_out_of_memory(RuntimeError("weights of the wrong shape"))
    assert not is_out_of_memory(ValueError("allocation of labels"))


def test_a_window_that_cannot_fit_is_refused_before_it_fills_the_machine(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64)))
    free = psutil.virtual_memory()._replace(available=2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert len(list(propose(session, model, device="cpu"))) == 12  # small work is never refused
    monkeypatch.setattr(vivim.utils.system, "KEPT", 2**20)
    with pytest.raises(DeviceError, match=r"12 frames.*GB are free.*shorter clip length"):
        list(propose(session, model, device="cpu", clip_length=12))


def test_a_fine_tune_without_memory_is_a_device_error(
    session: Session, tiny_model: Vivim, monkeypatch
) -> None:
    for t in (2, 6):
        session.correct(t, np.eye(*session.shape[1:], dtype=np.uint8))
    free = psutil.virtual_memory()._replace(available=2**10)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(vivim.utils.system, "KEPT", 2**10)
    with pytest.raises(DeviceError, match="learning from 2 frames"):
        list(finetune([session], tiny_model, device="cpu", in_process=True))


def test_the_command_line_says_it_in_one_line(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr("vivim.cli.info.run", lambda _: (_ for _ in ()).throw(FULL[1]))
    assert vivim.cli.main(["info", "--json"]) == 1
    said = capsys.readouterr()
    assert "memory" in json.loads(said.out)["error"] and "Traceback" not in said.err
