"""Videos as they come from a clinic, read frame by frame: one protocol, one file a kind of container.

The parts load when first used: to say whether a file is a video takes none of them. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
