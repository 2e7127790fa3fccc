"""``python -m vivim``: the same as the command ``vivim``."""

import sys

from vivim.cli import main

if __name__ == "__main__":
    sys.exit(main())
