"""GRiT: boxes of a frame, a name and a caption for each."""
