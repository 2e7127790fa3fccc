"""The napari plugin: widgets, readers and writers around the vivim library."""
