"""Sizes of frames that S3FD takes."""

SCALE = 0.25
SMALLEST_FRAME = 110
"""Shortest side in pixels: scaled it is 28, and below that the network's coarsest map is empty."""
