"""Measurements anyone can repeat: ``python -m benchmarks.NAME``, from the root of the repository."""

import vivim  # noqa: F401  # before anything imports torch: it tells OpenMP's threads not to spin while they wait
