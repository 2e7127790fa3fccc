"""One reader per kind of container, behind the protocol of `vivim.video`."""
