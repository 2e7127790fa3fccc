"""Qt components that know nothing of videos or models."""
