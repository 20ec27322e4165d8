"""The run: what is missing, who scores it, what a clip and a set of clips give, and what is written."""
