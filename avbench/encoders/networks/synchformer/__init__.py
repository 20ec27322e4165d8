"""Synchformer."""
