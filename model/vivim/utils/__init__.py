"""Helpers that know nothing of videos or models: files, stalling I/O, cancellation, the system."""
