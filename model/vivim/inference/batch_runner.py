"""Run windows of frames through the network, in batches that fit into memory and can be stopped within a block.

While the network works on one batch, a background thread prepares the next (decoding, resizing, guidance). No more than
two batches are in memory at a time, however long the video.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from vivim.devices import PRECISIONS, is_out_of_memory, native_bfloat16
from vivim.errors import DeviceError, VivimError
from vivim.inference.cuda_graphs import GraphedForward
from vivim.inference.feature_cache import EncodedFrames, EncodedWindows
from vivim.inference.sliding_windows import Window
from vivim.network import Vivim
from vivim.network.decoder import Decoder
from vivim.network.mix_transformer import MiTBlock
from vivim.network.temporal_mamba import STMamba
from vivim.settings import settings
from vivim.utils.cancellation import check
from vivim.utils.system import check_fits, trim

MAX_BATCH = 32
_WINDOWS_BETWEEN_TRIMS = 16
_SHARE_OF_FREE_MEMORY = 0.6
_log = logging.getLogger(__name__)

Inputs = tuple[Tensor, Tensor | None]
Prepare = Callable[[Window], Inputs]
"""From a window to ``(1, T, 3, H, W)`` and, where there is guidance, ``(1, T, 2, H, W)``."""


@contextlib.contextmanager
def stoppable(model: Vivim, stop: threading.Event | None) -> Iterator[None]:
    """Let `stop` interrupt the network between any two of its blocks."""
    if stop is None:
        yield
        return
    blocks = [module for module in model.modules() if isinstance(module, MiTBlock | STMamba | Decoder)]
    hooks = [block.register_forward_pre_hook(lambda *_: check(stop)) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def precision_context(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Autocast to bfloat16 where asked for, or by ``"auto"`` on GPUs that have it natively; else float32.

    On CPUs "auto" stays in float32: see docs/speed.md for what bfloat16 gains there and how many pixels it moves.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
    wanted = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and native_bfloat16(device)
    )
    if not wanted:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=device.type != "cuda")


@dataclass
class _Batch:
    windows: list[Window]
    x: Tensor
    planes: Tensor | None
    encoded: EncodedFrames | None = None
    """Features of the only window, where they are cached. `x` and `planes` are not needed then."""

    def halves(self) -> tuple[_Batch, _Batch]:
        middle = len(self.windows) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, part: slice) -> _Batch:
        planes = None if self.planes is None else self.planes[part]
        return _Batch(self.windows[part], self.x[part], planes)


class Runner:
    """Run windows on one device, in batches of a size measured on the first one.

    By default a batch is one window on a CPU, where more gains nothing and delays the first mask, and on a GPU as many
    as fit, but no more than the settings allow. It is halved, for good, when memory runs out. Setting `stop`, from any
    thread, stops within one block of the network.
    """

    def __init__(
        self,
        model: Vivim,
        device: torch.device,
        *,
        batch_size: int | None = None,
        precision: str = "auto",
        stop: threading.Event | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        precision_context(precision, device)
        self.model = model.to(device).eval()
        self.device = device
        self.precision = precision
        self.stop = stop
        self.batch_size = batch_size or 1
        self._max_batch = settings().batch_limit or MAX_BATCH
        self._measure_next = batch_size is None and device.type == "cuda"
        self.asks_presence = False
        """Whether frames in which the network sees no lesion get none, see `Vivim.decode_where_present`."""
        self._graphed = GraphedForward(self._forward) if device.type == "cuda" else None

    def __call__(self, x: Tensor, planes: Tensor | None) -> Tensor:
        """Return logits ``(B, T, C, H, W)`` float32 of clips ``(B, T, 3, H, W)``, both on the device."""
        with self._inference():
            return self._forward(x, planes) if self._graphed is None else self._graphed(x, planes)

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        """Set up a pass of the network: stoppable, without gradients, in the precision asked for."""
        check(self.stop)
        with (
            torch.inference_mode(),
            stoppable(self.model, self.stop),
            precision_context(self.precision, self.device),
        ):
            yield

    @property
    def uses_cache(self) -> bool:
        """Whether encoded windows are cached. A GPU encodes fast, and its memory is needed for other things."""
        return self.device.type == "cpu"

    def _uses_cache(self, encoded_cache: EncodedWindows | None) -> TypeGuard[EncodedWindows]:
        return self.uses_cache and encoded_cache is not None

    def _encoded(self, batch: _Batch, encoded_cache: EncodedWindows) -> EncodedFrames:
        """Features of the only window of a batch, cached from now on."""
        if batch.encoded is not None:
            return batch.encoded
        features = self.model.features(batch.x, batch.planes)
        return encoded_cache.put(
            batch.windows[0], features, None if batch.planes is None else batch.planes[0]
        )

    def _decoded(self, encoded: EncodedFrames) -> tuple[Tensor, Tensor | None]:
        decode = self.model.decode_where_present if self.asks_presence else self.model.decode
        return decode(encoded.features, self.model.config.input_size).float(), encoded.planes

    def _forward(self, x: Tensor, planes: Tensor | None) -> Tensor:
        if not self.asks_presence or self.model.presence is None:
            return self.model(x, planes).float()
        features = self.model.features(x, planes)
        logits = self.model.decode_where_present(features, (x.shape[-2], x.shape[-1]))
        return logits.unflatten(0, x.shape[:2]).float()

    def run(
        self, windows: Sequence[Window], prepare: Prepare, encoded_cache: EncodedWindows | None = None
    ) -> Iterator[tuple[Window, Tensor, Tensor | None]]:
        """Yield each window and, of its n kept frames, the logits ``(n, C, H, W)`` and guide planes ``(n, 2, H, W)``.

        In order. Windows in `encoded_cache` are not encoded again, on a CPU. Raises `Stopped` if `stop` was set,
        `DeviceError` if not even one window fits into memory.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="vivim-prepare") as thread:
            done, trimmed = 0, 0
            following = thread.submit(self._prepare, windows, done, prepare, encoded_cache)
            while done < len(windows):
                batch = following.result()
                done += len(batch.windows)
                following = thread.submit(self._prepare, windows, done, prepare, encoded_cache)
                try:
                    yield from self._run(batch, encoded_cache)
                except BaseException:  # closed, stopped or failed: nobody will ask for the next batch
                    following.cancel()
                    raise
                if self.device.type == "cpu" and done - trimmed >= _WINDOWS_BETWEEN_TRIMS:
                    trim()
                    trimmed = done

    def _prepare(
        self, windows: Sequence[Window], first: int, prepare: Prepare, encoded_cache: EncodedWindows | None
    ) -> _Batch:
        """Inputs of the next windows of one kind, from index `first` on, or one window that is cached."""
        if self._uses_cache(encoded_cache) and first < len(windows):
            found = encoded_cache.get(windows[first])
            if found is not None:
                return _Batch([windows[first]], torch.empty(0), None, found)
        together: list[Window] = []
        inputs: list[Inputs] = []
        for window in windows[first : first + self.batch_size]:
            if together and _kind(window) != _kind(together[0]):
                break
            check(self.stop)
            together.append(window)
            inputs.append(prepare(window))
        planes = [p for _, p in inputs if p is not None]
        x = torch.cat([x for x, _ in inputs]) if inputs else torch.empty(0)
        return _Batch(together, x, torch.cat(planes) if planes else None)

    def _run(
        self, batch: _Batch, encoded_cache: EncodedWindows | None
    ) -> Iterator[tuple[Window, Tensor, Tensor | None]]:
        try:
            self._check_fits(batch.x)
            if self._uses_cache(encoded_cache) and len(batch.windows) == 1:
                with self._inference():
                    found = self._decoded(self._encoded(batch, encoded_cache))
                yield batch.windows[0], *found
                return
            logits = self._measured(batch) if self._measure_next else self(batch.x, batch.planes)
        except Exception as error:
            if isinstance(error, VivimError) or not is_out_of_memory(error):
                raise
            if len(batch.windows) == 1:
                why = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
                raise DeviceError(
                    f"One window of {len(batch.windows[0].frames)} frames does not fit into the memory of "
                    f"{self.device}{why}. Choose a shorter clip length"
                    f"{'' if self.device.type == 'cpu' else ', or the device cpu'}."
                ) from error
            logits = None
        if logits is None:  # outside the handler, which would keep the failed tensors alive
            self._free_memory()
            # the next batch may have been prepared at the old size: never back up
            self.batch_size = min(self.batch_size, len(batch.windows) // 2)
            _log.warning(
                "Out of memory on %s: going on with %d windows at once.", self.device, self.batch_size
            )
            for half in batch.halves():
                yield from self._run(half, encoded_cache)
            return
        for i, window in enumerate(batch.windows):
            at = window.kept_at
            yield window, logits[i, at], None if batch.planes is None else batch.planes[i, at]

    def _check_fits(self, x: Tensor) -> None:
        """Refuse a batch ``(B, T, 3, H, W)`` that would fill a CPU's memory. Other devices raise errors themselves."""
        if self.device.type == "cpu" and x.ndim == 5:
            config = self.model.config
            each = 4 * config.preset.widths[0] + 0.35 * config.preset.decoder_width + 12 * config.num_classes
            frames = x.shape[0] * x.shape[1]
            check_fits(each * frames * x.shape[3] * x.shape[4], f"the network, for {frames} frames,")

    def _measured(self, batch: _Batch) -> Tensor:
        """Run one batch and set the batch size by the memory it took."""
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        logits = self(batch.x, batch.planes)
        taken = max(1, torch.cuda.max_memory_allocated(self.device) - before) / len(batch.windows)
        free, _ = torch.cuda.mem_get_info(self.device)
        self.batch_size = max(1, min(self._max_batch, int(_SHARE_OF_FREE_MEMORY * free / taken)))
        self._measure_next = False
        return logits

    def _free_memory(self) -> None:
        if self._graphed is not None:
            self._graphed.forget()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def _kind(window: Window) -> tuple[int, bool]:
    """Number of frames and guidance, which windows of one batch have in common."""
    return len(window.frames), window.guided
