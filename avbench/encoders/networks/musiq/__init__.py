"""MUSIQ."""
