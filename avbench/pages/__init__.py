"""Shared parts of pages and tables: page shell, charts, tables with one renderer per format, numbers as text."""
