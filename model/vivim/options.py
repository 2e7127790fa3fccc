"""Choices that the command line offers before PyTorch is loaded."""

from __future__ import annotations

MODES = ("every", "overlap", "centre")
"""Ways to lay windows over a video; see `vivim.windows`."""

PRECISIONS = ("auto", "float32", "bfloat16")
"""Number formats of the network's matrices; see `vivim.predict`."""
