"""Windows over a video to masks: sliding windows, batches, fusion, uncertainty, proposals."""
