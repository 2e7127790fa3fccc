"""One file per format, which writes and reads it."""
