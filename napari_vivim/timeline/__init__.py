"""All frames of the video at a glance, under the picture."""
