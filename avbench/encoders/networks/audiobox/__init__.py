"""Audiobox Aesthetics."""
