"""Masks out of a session and into it. `vivim.io.formats` has one file per format.

A format is written beside its final place and moved there when it is whole, so that nothing half-written is taken for
finished. What is imported goes through the session's gate.
"""
