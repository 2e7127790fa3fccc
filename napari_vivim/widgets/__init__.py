"""The docks, dialogs and panels."""
