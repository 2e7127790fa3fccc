"""The controller of one video: its session, masks layer, jobs and keys."""
