"""What one video has beside its picture: session, masks layer, jobs, keys."""
