"""Pure array work on pictures and masks: no video, no session, no network."""
