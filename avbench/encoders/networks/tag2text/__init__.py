"""Tag2Text: a frame's tags, and a caption that they lead."""
