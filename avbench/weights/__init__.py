"""Checkpoints: the table of them, where they are, how they come here, and which bytes they hold."""
