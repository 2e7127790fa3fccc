"""Model versions: list, load, lineage."""
