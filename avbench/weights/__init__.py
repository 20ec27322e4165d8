"""Checkpoints: their table, locating, downloading and checksums."""
