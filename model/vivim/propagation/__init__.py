"""Propagate corrected masks to other frames along optical flow."""
