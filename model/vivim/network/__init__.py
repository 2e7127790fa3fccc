"""The Vivim network: a MiT encoder and Temporal Mamba blocks per stage, a light decoder, and its checkpoints."""

from vivim.network.config import VivimConfig
from vivim.network.vivim import Vivim

__all__ = ["Vivim", "VivimConfig"]
