"""The layers of a video: pictures, masks, lesions."""
