"""Resemblyzer: embeddings of voices."""
