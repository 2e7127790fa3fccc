"""Vivim: lesion masks in medical video. The library behind the napari plugin; needs neither Qt nor napari.

Importing this package is cheap: PyTorch and the other heavy parts load when first used. The public names are listed in
``__init__.pyi``, which both this module and type checkers read.
"""

import os

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"

# PyTorch's idle threads otherwise spin, and starve the scan's threads, the window, and every other program: with both
# cores of a small machine busy a forward pass took 7.3 s instead of 1.3 s. Read once, when PyTorch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
