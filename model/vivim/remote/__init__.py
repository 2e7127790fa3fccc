"""Propose and fine-tune on another machine's device: `vivim serve` there, ``remote:https://host:port`` as device here.

The server runs the very generators of the local path on a stand-in for the session (`received`), which asks the client
for the pixels it needs; so masks and weights are those of a local run. Only pixels, masks, weights and numbers travel.
"""
