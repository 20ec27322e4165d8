"""A small joint audio-video world, drawn and judged by formulas, in which the whole method runs on a laptop."""
