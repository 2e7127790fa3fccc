"""Ask a session's corrected frames how far to trust carried masks; what `vivim.trust` decides by."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from numpy.typing import NDArray
from torch import Tensor

from vivim.given import CARRIED_AT_ONCE, ResizedFrames, guide_without, resized_mask, window_inputs
from vivim.guide import MaskGuide
from vivim.predict import Runner
from vivim.recall import EncodedWindows
from vivim.trust import calibrate, judges, stored_trust
from vivim.windows import Window, in_context, window_around

if TYPE_CHECKING:
    from vivim.session import Session


def trust_in(session: Session, runner: Runner, reader: ResizedFrames, encoder: str) -> float:
    """How far to trust carried masks in this session; see `vivim.trust`.

    A model tuned on these very frames cannot be asked about them: it brings the answer from its held-out rounds.
    Of any other session's frames it is asked like every model. `encoder` is what tells the model's encoder, with
    the precision it runs in, from others.
    """
    stored = stored_trust(session, runner.model)
    if stored is not None:
        return stored
    size, asked = runner.model.config.input_size, judges(session)

    def carried(t: int) -> tuple[Window, EncodedWindows]:
        """The window of a frame and what guides it, worked out here side by side unless its end is remembered."""
        guide = guide_without(session, reader, size, t)
        window, remembered = around(t, guide)
        if remembered.get(window) is None:
            guide.planes(window.frames)  # remembered by the guide
        return window, remembered

    def around(t: int, guide: MaskGuide | None) -> tuple[Window, EncodedWindows]:
        frames = window_around(in_context(t, len(session)), guide)
        return Window(tuple(frames), (t,)), EncodedWindows(reader.recall, encoder, guide, 2 * len(asked))

    def predict(t: int, guided: bool) -> tuple[Tensor, Tensor | None, NDArray]:
        window, remembered = guides.pop(t).result() if guided else around(t, None)
        logits, planes = runner.once(
            window, lambda frames: window_inputs(reader, frames, remembered.guide, runner.device), remembered
        )
        return logits, planes, resized_mask(session, t, size)

    with ThreadPoolExecutor(min(len(asked), CARRIED_AT_ONCE) or 1, "vivim-carry") as pool:
        guides = {t: pool.submit(carried, t) for t in asked} if len(asked) > 1 else {}
        return calibrate(session, predict)
