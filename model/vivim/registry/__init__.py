"""Model versions: list, load, ancestors."""
