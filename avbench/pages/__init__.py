"""What all pages and tables share: the page around a content, charts, tables and their formats, numbers as text."""
