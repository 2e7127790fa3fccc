"""Run ``vivim`` once for each list of words of a JSON list on stdin, as if no optional module were installed.

Each answer is a line of JSON: the exit code, or the name of what came out as a traceback, and stderr.
"""

import contextlib
import io
import json
import sys
from importlib.machinery import PathFinder

HIDDEN = {
    "bokeh", "causal_conv1d", "distributed", "highdicom", "huggingface_hub", "lightning_fabric", "mamba_ssm",
    "matplotlib", "napari", "py_sod_metrics", "PyQt6", "SimpleITK", "tensorboard", "transformers", "websockets",
}  # fmt: skip


class Hiding(PathFinder):
    """Finds what is on the path, but for what is hidden."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)


def answer(words: list[str]) -> dict[str, object]:
    """Run one command."""
    from vivim.cli import main

    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    return {"words": words, "code": code, "err": err.getvalue(), "out": out.getvalue()}


sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
for line in json.load(sys.stdin):
    print(json.dumps(answer(line)), flush=True)
