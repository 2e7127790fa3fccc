"""Propose and fine-tune on another machine: `vivim serve` there, the device ``remote:https://host:port`` here.

The server runs the generators of the local path on a `remote_session.RemoteSession`, which asks the client for the
pixels it needs, so that masks and weights are those of a local run. Only pixels, masks, weights and numbers travel.
"""
