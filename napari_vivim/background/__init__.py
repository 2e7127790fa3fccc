"""Work done beside the window's thread."""
